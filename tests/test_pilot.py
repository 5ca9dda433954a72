"""The judge of minutes: a pilot that looks, flown by one rule in the real game and in a dream."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from panorama import CONTROL, SPACE, TIER, Panorama, level, players

import train.pilot as stage
from worldmodel.action import Action, ActionSpace
from worldmodel.evaluation.drift import survival
from worldmodel.evaluation.figures import long_figures, may_judge
from worldmodel.evaluation.flight import load_longs, piloted, practise, save_longs
from worldmodel.evaluation.judges import load_judge, save_judge
from worldmodel.evaluation.manifest import build
from worldmodel.evaluation.pilot import (
    TURN,
    Flight,
    Flights,
    Pilot,
    PilotConfig,
    chances,
    decide,
    held_names,
    loss,
    small,
    targets,
)
from worldmodel.evaluation.quality import traits
from worldmodel.evaluation.reference import collect_long

CONFIG = PilotConfig(frames=3, size_hw=[16, 24], widths=[6, 7, 8, 9], features=20)


class Lane:
    """A bright post that drifts to a side as one turns; out of view, all is grey. Env; frames (16, 24, 3)."""

    actions, fps, size_hw = ActionSpace(("gas",), (20.0, 0.0)), 5.0, (16, 24)

    def reset(self, *, start=0, seed=0):
        self.rng = np.random.default_rng([start, seed])
        self.x = 12.0
        return self.frame()

    def step(self, action):
        self.x -= action.mouse[0] / 4 + self.rng.choice([-2.0, 2.0])
        return self.frame()

    def frame(self):
        picture = np.full((16, 24, 3), 60, np.uint8)
        at = round(self.x)
        picture[:, max(at - 2, 0) : max(at + 2, 0)] = 220
        return picture

    def close(self):
        pass


def keeper(env):
    """Turns towards the post: the player that is imitated."""
    return lambda: Action({"gas"}, (float(np.clip(3 * (env.x - 12), -20, 20)), 0.0))


def lane_level():
    """The lane with its keeper; the place is where the post is."""
    env = Lane()
    return level("", env)._replace(players=lambda seed: keeper(env), place=lambda: (env.x, 0.0))


@pytest.fixture(scope="module")
def pilot():
    """Learnt in some seconds, from films of a player who sometimes errs."""
    torch.manual_seed(0)
    control, env, flights = replace(CONTROL, labels=["gas"], stopped={}), Lane(), []
    for seed in range(12):
        frames, done, act = [env.reset(seed=seed)], [], keeper(env)
        for t in range(60):
            done.append(act())
            frames.append(env.step(Action((), (19.0 if seed % 2 else -19.0, 0.0)) if t % 9 < 2 else done[-1]))
        wanted, mask = targets(
            np.stack([env.actions.to_vector(a) for a in done]), np.zeros((60, 2)), env.actions, control
        )
        flights.append(Flight(small(np.stack(frames), CONFIG.size_hw), *map(torch.from_numpy, (wanted, mask))))
    learner, batches = Pilot(CONFIG, ["gas"]), Flights(flights, CONFIG.frames, 0)
    optimizer = torch.optim.AdamW(learner.parameters(), 3e-3)
    for step in range(250):
        frames, wanted, mask = batches.batch(step, 48)
        optimizer.zero_grad()
        loss(learner(frames), wanted, mask).backward()
        optimizer.step()
    return learner.eval().requires_grad_(False)


def flown(pilot, seed=100, steps=80):
    """Places of the post under the pilot in the real lane."""
    own = piloted(lane_level(), pilot, 4)
    own.env.reset(seed=seed)
    act, places = own.players(seed), []
    for _ in range(steps):
        own.env.step(act())
        places.append(own.place()[0])
    return np.asarray(places)


def test_a_pilot_that_looks_keeps_the_lane_and_a_blind_one_does_not(pilot):
    away = [np.abs(flown(who) - 12).max() for who in (pilot, blind())]
    assert away[0] < 9 < away[1]


def test_a_flight_is_a_function_of_its_seed(pilot):
    np.testing.assert_array_equal(flown(pilot, 5), flown(pilot, 5))
    assert np.any(flown(pilot, 5) != flown(pilot, 6))
    assert chances(pilot, 3, 4).tolist() == chances(pilot, 3, 4).tolist() != chances(pilot, 3, 5).tolist()


def test_a_button_is_held_as_often_as_its_odds_say_and_the_turn_is_in_degrees():
    one = Pilot(CONFIG, ["forward"]).eval()
    for parameter in one.parameters():
        torch.nn.init.zeros_(parameter)
    one.body[-1].bias.data = torch.tensor([np.log(0.3 / 0.7), 10 / TURN], dtype=torch.float32)
    draws = np.linspace(0, 0.99, 50)[:, None]
    vectors = decide(one, np.zeros((50, 3, 16, 24, 3), np.uint8), draws, SPACE)
    assert vectors.shape == (50, 4)
    np.testing.assert_array_equal(vectors[:, 0], draws[:, 0] < 0.3)
    np.testing.assert_allclose(vectors[:, 3], 10 / 20, rtol=1e-6)


def test_keys_that_turn_are_imitated_as_degrees_and_what_was_not_obeyed_teaches_nothing():
    actions = [Action({"forward"}), Action({"forward", "turn_left"}), Action((), (12, 0))]
    vectors = np.stack([SPACE.to_vector(action) for action in actions])
    wanted, mask = targets(vectors, np.asarray([[0.0, 0], [3, 0], [3, 0]]), SPACE, CONTROL)
    assert held_names(SPACE, CONTROL) == ["forward"]
    np.testing.assert_allclose(wanted, [[1, 0], [1, -5 / TURN], [0, 12 / TURN]])
    assert mask.all()
    assert not targets(vectors, np.zeros((3, 2)), SPACE, CONTROL)[1][1, 0]  # forward, and yet it stood


def test_what_was_done_stands_beside_the_last_frame_that_was_seen_before():
    frames = 30 * torch.arange(7, dtype=torch.uint8)[:, None, None, None].expand(7, 3, 8, 8)
    wanted = torch.arange(6.0)[:, None].expand(6, 2)
    batch, beside, _ = Flights([Flight(frames, wanted, wanted > -1)], 3, 0).batch(0, 40)
    assert batch.shape == (40, 9, 8, 8)
    assert set(beside[:, 0].tolist()) == {2.0, 3.0, 4.0, 5.0}
    newest = (batch[:, 6:].mean((1, 2, 3)) + 1) * 127.5 / 30
    np.testing.assert_allclose(newest, beside[:, 0], atol=1.2)  # as far as light and dark leave it
    assert np.corrcoef(newest, beside[:, 0])[0, 1] > 0.9


def blind():
    """A pilot that never turns and holds nothing by choice."""
    one = Pilot(CONFIG, ["gas"]).eval()
    for parameter in one.parameters():
        torch.nn.init.zeros_(parameter)
    return one


def test_in_practice_pilot_and_player_take_turns_and_the_player_always_says_what_it_would_do():
    film = practise(lane_level(), blind(), 3, 120, (5, 9))
    assert (film.frames.shape, film.wanted.shape, film.places.shape) == ((121, 16, 24, 3), (120, 2), (120, 2))
    x = film.places[:, 0]
    np.testing.assert_allclose(film.wanted[1:, 1] * 20, np.clip(3 * (x[:-1] - 12), -20, 20), atol=1e-4)
    turned = 4 * (x[:-1] - x[1:])  # what was done; the lane itself drifts by 8 in these units
    is_player = np.abs(turned - 20 * film.wanted[1:, 1]) < 8.1
    is_pilot = np.abs(turned) < 8.1
    assert (is_player | is_pilot).all()
    assert (is_pilot & ~is_player).any()
    assert (is_player & ~is_pilot).any()
    assert is_player[:4].all()  # who acts first
    np.testing.assert_array_equal(film.frames, practise(lane_level(), blind(), 3, 120, (5, 9)).frames)
    with pytest.raises(ValueError, match="sees 3 frames"):
        practise(lane_level(), blind(), 3, 120, (2, 9))


def test_films_of_practice_are_drawn_from_their_step_on():
    def film(value):
        return Flight(torch.full((5, 3, 8, 8), value, dtype=torch.uint8), torch.full((4, 2), float(value)),
                      torch.ones(4, 2, dtype=torch.bool))  # fmt: skip

    grown, small_one = Flights([film(10)], 3, 0), Flights([film(10)], 3, 0)
    grown.add([film(20), film(30)], 7)
    for step in (0, 6):
        for a, b in zip(grown.batch(step, 16), small_one.batch(step, 16), strict=True):
            torch.testing.assert_close(a, b)
    assert set(grown.batch(7, 64)[1][:, 0].tolist()) == {10.0, 20.0, 30.0}


def test_a_school_keeps_what_was_flown_and_flies_only_with_whom_it_imitates(monkeypatch, tmp_path):
    asked = []

    def who(env, game, seed):
        asked.append(seed)
        return ("keeper" if seed % 2 else "wild"), keeper(env)

    monkeypatch.setattr(stage, "open_game", lambda game, watch: Lane())
    monkeypatch.setattr(stage, "player", who)
    monkeypatch.setattr(stage, "place", lambda env: (env.x, 0.0))
    cfg = SimpleNamespace(
        game=None, probes=replace(CONTROL, labels=["gas"], stopped={}, imitate=["keeper"]), pilot=CONFIG,
        practice=stage.PracticeConfig(runs=3, seconds=8, stretch_seconds=(1.0, 2.0)),
    )  # fmt: skip
    school = stage.School(cfg, tmp_path / "practice")
    films = {step: school.fly(blind(), step) for step in (200, 1000)}
    assert [film.frames.shape for film in films[200]] == [(41, 3, 16, 24)] * 3
    assert not torch.equal(films[200][0].wanted, films[1000][0].wanted)
    flown_by = [seed for seed in asked if asked.count(seed) > 1]  # asked about, then flown with
    assert len(set(flown_by)) == 6
    assert all(seed % 2 for seed in flown_by)
    back = stage.School(cfg, tmp_path / "practice").flown()
    assert list(back) == [200, 1000]
    for step, kept in back.items():
        for one, other in zip(kept, films[step], strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    "values", [{"runs": -1}, {"stretch_seconds": (2.0, 1.0)}, {"stretch_seconds": (0.0, 1.0)}, {"seconds": 1.0}]
)
def test_practice_that_cannot_be_is_refused_before_any_training(values):
    with pytest.raises(ValueError, match="practice: runs"):
        stage.PracticeConfig(**{"runs": 3, "seconds": 8.0, "stretch_seconds": (1.0, 2.0)} | values)


def test_it_comes_back_from_its_file(pilot, tmp_path):
    save_judge(tmp_path / "pilot.safetensors", pilot)
    back, frames = load_judge(tmp_path / "pilot.safetensors", Pilot, PilotConfig), torch.randn(2, 9, 16, 24)
    assert (back.names, back.config) == (["gas"], CONFIG)
    torch.testing.assert_close(back(frames), pilot(frames))


def test_real_runs_of_a_pilot_are_kept_and_begin_as_the_scripted_player_left_them(tmp_path):
    control = replace(CONTROL, turning=None)
    manifest = build({"toy": 1}, control, TIER())
    unlearnt = Pilot(CONFIG, held_names(SPACE, CONTROL)).eval()
    own = piloted(level("", Panorama()), unlearnt, manifest.warm_up + manifest.context)
    longs = collect_long(manifest, own, {6: 2, 11: 0}, lambda text: None)
    save_longs(tmp_path / "a" / "piloted.npz", longs)
    back = load_longs(tmp_path / "a" / "piloted.npz")
    assert (list(back), back[6].actions.shape, back[6].traits.shape) == ([6], (2, 33, 4), (2, 30, 3))
    act = players(manifest.of("E")[0].seed)
    scripted = [SPACE.to_vector(act()) for _ in range(5)][2:]
    np.testing.assert_allclose(back[6].actions[0, :3], scripted)
    np.testing.assert_array_equal(back[6].frames, longs[6].frames)


def runs(leave):
    """Traits (R, L, 3) = (6, 300, 3) of lanes at 5 fps; the post of run k leaves the view after leave[k] frames."""
    clips = []
    for k, gone in enumerate(leave):
        env, frames = Lane(), []
        env.reset(seed=k)
        for t in range(300):
            env.x = 12 + 5 * np.sin(t / 3) if t < gone else -99
            frames.append(env.frame())
        clips.append(traits(np.stack(frames)))
    return np.stack(clips)


def test_piloted_survival_falls_with_every_run_that_leaves_the_road():
    real = runs([300] * 6)
    rungs = [survival([runs([40] * lost + [300] * (6 - lost))], [real], [real], 5.0, 60).value for lost in (0, 2, 4, 6)]
    assert rungs == pytest.approx([1, 4 / 6, 2 / 6, 0])


def test_a_pilot_that_gets_lost_in_the_real_game_judges_nobody():
    good, lost = runs([300] * 6), runs([40] * 5 + [300])
    assert may_judge(long_figures({60: good}, {60: good}, [good], 5.0), 0.7)
    assert not may_judge(long_figures({60: lost}, {60: lost}, [good], 5.0), 0.7)
