"""The judge of minutes: a pilot that looks, flown by one rule in the real game and in a dream."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from panorama import CONTROL, SPACE, TIER, Panorama, level, players

from worldmodel.action import Action, ActionSpace
from worldmodel.evaluation.drift import survival
from worldmodel.evaluation.figures import long_figures, may_judge
from worldmodel.evaluation.flight import load_longs, piloted, save_longs
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
    env = Lane()
    own = piloted(level("", env)._replace(players=lambda seed: keeper(env), place=lambda: (env.x, 0.0)), pilot, 4)
    own.env.reset(seed=seed)
    act, places = own.players(seed), []
    for _ in range(steps):
        own.env.step(act())
        places.append(env.x)
    return np.asarray(places)


def test_a_pilot_that_looks_keeps_the_lane_and_a_blind_one_does_not(pilot):
    blind = Pilot(CONFIG, ["gas"]).eval()
    for parameter in blind.parameters():
        torch.nn.init.zeros_(parameter)
    away = [np.abs(flown(who) - 12).max() for who in (pilot, blind)]
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


def test_it_comes_back_from_its_file(pilot, tmp_path):
    save_judge(tmp_path / "pilot.safetensors", pilot)
    back, frames = load_judge(tmp_path / "pilot.safetensors", Pilot, PilotConfig), torch.randn(2, 9, 16, 24)
    assert (back.names, back.config) == (["gas"], CONFIG)
    torch.testing.assert_close(back(frames), pilot(frames))


def test_real_runs_of_a_pilot_are_kept_and_begin_as_the_scripted_player_left_them(tmp_path):
    control = replace(CONTROL, turning=None)
    manifest = build({"toy": 1}, control, TIER())
    blind = Pilot(CONFIG, held_names(SPACE, CONTROL)).eval()
    own = piloted(level("", Panorama()), blind, manifest.warm_up + manifest.context)
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
