"""The whole protocol on a toy game and a tiny network: collected, dreamt, judged, written."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from panorama import CONTROL, SPACE, TIER, Panorama, level, players

from worldmodel.diffusion.rollout import consistency, euler
from worldmodel.env import EnvError, EpisodeEnd
from worldmodel.evaluation.dreamer import Dreamer, decode, dream
from worldmodel.evaluation.figures import Judges, inverse_figures, quality_figures, still_figures, turn_figures
from worldmodel.evaluation.flight import fly, piloted
from worldmodel.evaluation.gates import NAMES, Bounds, Gate, gates, verdict
from worldmodel.evaluation.inverse import Inverse, InverseConfig
from worldmodel.evaluation.manifest import KIND, RETRY, build
from worldmodel.evaluation.otherwise import astray, still
from worldmodel.evaluation.pilot import Pilot, PilotConfig, held_names
from worldmodel.evaluation.protocol import Dreamers, measure, passes
from worldmodel.evaluation.quality import traits
from worldmodel.evaluation.reference import Reference, collect, collect_long
from worldmodel.evaluation.report import write_report
from worldmodel.evaluation.statistics import Estimate
from worldmodel.model.dit import CausalDiT, ModelConfig
from worldmodel.model.masks import Sight
from worldmodel.tokenizer.autoencoder import Tokenizer, TokenizerConfig

MANIFEST = build({"toy": 1}, CONTROL, TIER())
BOUNDS = {key: Bounds(least=0.5, most=None, good=0.9) for key in NAMES} | {
    "lag": Bounds(least=None, most=1, good=0), "context_seconds": Bounds(least=None, most=None, good=None),
}  # fmt: skip


def played(manifest=MANIFEST, open_level=level):
    return collect(manifest, open_level, CONTROL.branch, lambda text: None)


@pytest.fixture(scope="module")
def reference():
    return played()


@pytest.fixture(scope="module")
def dreamers():
    torch.manual_seed(0)
    tokenizer = Tokenizer(TokenizerConfig(size_hw=[16, 24], channels=5, patch=8, widths=[8, 8, 8], whiten=0.0)).eval()
    sizes = ModelConfig(
        width=32, layers=2, heads=4, temporal_heads=2, mlp=2, sight=Sight(window=4, sink=1, near=[1, 3])
    )
    model = CausalDiT(sizes, (5, 2, 3), SPACE.size).eval()
    torch.nn.init.normal_(model.head.weight, std=0.1)
    make = partial(Dreamer, model=model, tokenizer=tokenizer, batch=4)
    return Dreamers(
        student=make(sigmas=[1.0, 0.5], sampler=consistency),
        one_step=make(sigmas=[1.0], sampler=consistency),
        teacher=make(sigmas=[1.0, 0.75, 0.5, 0.25], sampler=euler),
    )


@pytest.fixture(scope="module")
def judges(reference):
    config = InverseConfig(size_hw=[16, 16], widths=[4, 5, 6, 7], motion=10, features=9)
    inverse = Inverse(config, CONTROL.label_names).eval().requires_grad_(False)
    pool = reference.shorts["B"].frames.reshape(-1, 16, 24, 3)
    eyes = PilotConfig(frames=2, size_hw=[16, 16], widths=[4, 5, 6, 7], features=8)
    pilot = Pilot(eyes, held_names(SPACE, CONTROL)).eval().requires_grad_(False)
    own = piloted(level(), pilot, MANIFEST.warm_up + MANIFEST.context)
    longs = collect_long(MANIFEST, own, TIER().piloted, lambda text: None)
    lost = collect_long(MANIFEST, astray(level(), MANIFEST, reference.longs), TIER().long, lambda text: None)
    stood = collect_long(MANIFEST, still(level(), MANIFEST, reference.longs), {6: 2}, lambda text: None)
    return Judges(
        control=CONTROL, space=SPACE, inverse=inverse, least_f1=0.0, pilot=pilot, piloted=longs, least_pilot=0.0,
        pool=pool, diverse=[2, 3, 4], astray=lost, still=stood[6],
    )  # fmt: skip


@pytest.fixture(scope="module")
def measured(reference, dreamers, judges):
    """Figures, what they were read off, and the passes that were told on the way."""
    done = []
    dreamers.tell(done.append)
    figures, shown = measure(dreamers, reference, judges)
    dreamers.tell(lambda passed: None)
    return figures, shown, sum(done)


def test_reference_has_the_shapes_it_says(reference):
    home, look = reference.shorts["A"], reference.looks[90]
    assert home.frames.shape == (5, 12, 16, 24, 3)
    assert home.actions.shape == (5, 12, 5 - 1)
    assert home.places.shape == (5, 12, 2)
    assert set(reference.shorts) == {"A", "B", "C/night", "D/spin"}
    assert reference.branches.frames.shape == (2, 3, 4, 16, 24, 3)
    assert reference.branches.actions.shape == (2, 3, 7, 4)
    assert reference.longs[11].actions.shape == (2, 58, 4)
    assert reference.longs[6].traits.shape == (2, 30, 3)
    assert reference.longs[6].frames.shape == (2, 3, 16, 24, 3)
    assert (look.context.shape[1], look.frames.shape[1], look.actions.shape[1]) == (3, 12, 15)
    assert look.near.shape == (2, 5, 16, 24, 3)


def test_actions_led_to_the_frames_beside_them(reference):
    env, part = Panorama(), reference.shorts["A"]
    for k, (frames, actions) in enumerate(zip(part.frames, part.actions, strict=True)):
        env.reset(seed=2_000_000 + k)
        act = players(2_000_000 + k)
        env.step(act())
        env.step(act())
        for frame, vector in zip(frames, actions, strict=True):
            np.testing.assert_allclose(SPACE.to_vector(action := act()), vector)
            np.testing.assert_array_equal(env.step(action), frame)


def test_scripts_take_over_after_the_context_and_a_look_comes_home(reference):
    spin = reference.shorts["D/spin"].actions
    np.testing.assert_allclose(spin[:, 3:, 3], 12 / 20)
    look = reference.looks[90]
    np.testing.assert_array_equal(look.frames[:, -1], look.context[:, -1])
    np.testing.assert_array_equal(look.near[:, 2], look.frames[:, -1])
    assert (look.frames[:, 5] != look.context[:, -1]).mean() > 0.9


def test_traits_of_a_long_run_do_not_depend_on_the_chunks_they_are_measured_in(reference, monkeypatch):
    monkeypatch.setattr("worldmodel.evaluation.reference.CHUNK", 7)
    np.testing.assert_allclose(played().longs[11].traits, reference.longs[11].traits, rtol=1e-5)


def test_collecting_twice_gives_the_same_digest_and_the_file_keeps_it(reference, tmp_path):
    assert played().digest() == reference.digest()
    reference.save(tmp_path / "kept" / "reference.npz")
    kept = Reference.load(tmp_path / "kept" / "reference.npz")
    assert kept.digest() == reference.digest()
    assert (set(kept.shorts), set(kept.longs), kept.fps) == (set(reference.shorts), {6, 11}, 5)
    np.testing.assert_array_equal(kept.shorts["D/spin"].frames, reference.shorts["D/spin"].frames)


def test_a_game_that_does_not_replay_is_refused():
    class Moody(Panorama):
        resets = 0

        def reset(self, **start):
            self.resets += 1
            super().reset(**start)
            self.x += self.resets
            return self.frame()

    with pytest.raises(EnvError, match="deterministic"):
        played(open_level=lambda name: level(name, Moody()))


def test_an_episode_that_ends_too_early_is_played_with_another_seed():
    class Short(Panorama):
        def reset(self, *, start=0, seed=0):
            self.is_doomed = seed == 2_000_000 + KIND
            return super().reset(start=start, seed=seed)

        def step(self, action):
            if self.is_doomed:
                raise EpisodeEnd("over")
            return super().step(action)

    env = Panorama()
    env.reset(seed=2_000_000 + KIND + RETRY)
    frames = played(open_level=lambda name: level(name, Short())).branches.context
    assert (frames[0, 0] == env.step(players(2_000_000 + KIND + RETRY)())).mean() < 1  # two steps further
    assert frames.shape[0] == 2


def test_reality_astray_begins_as_it_did_and_goes_on_as_the_run_before(reference, judges):
    ours, lost = reference.longs[6], judges.astray[6]
    np.testing.assert_array_equal(lost.context, ours.context)
    np.testing.assert_allclose(lost.actions[:, :3], ours.actions[:, :3])
    np.testing.assert_allclose(lost.actions[:, 3:], ours.actions[::-1, 3:])
    assert (np.abs(lost.traits - ours.traits).max((1, 2)) > 10).all()


def test_a_still_run_begins_as_it_did_and_does_nothing(reference, judges):
    np.testing.assert_array_equal(judges.still.context, reference.longs[6].context)
    np.testing.assert_allclose(judges.still.actions[:, :3], reference.longs[6].actions[:, :3])
    assert not judges.still.actions[:, 3:].any()
    np.testing.assert_array_equal(judges.still.frames, np.repeat(judges.still.context[:, -1:], 3, 1))


def test_a_world_that_stays_stands_still_and_one_that_melts_is_told_when():
    real = np.random.default_rng(0).integers(0, 255, (2, 4, 16, 24, 3)).astype(np.uint8)
    melting = np.stack([np.roll(real[:, i], 5 * (i > 1), 2) for i in range(4)], 1)
    looks = np.ones((2, 40, 3), np.float32)
    figures = still_figures({"real": real, "student": melting, "copy_last": real}, 2 * looks, looks, 2.0)
    assert list(figures["psnr"]) == [2, 4, 6]
    assert figures["psnr"][2]["student"].value > 40 > 12 > figures["psnr"][4]["student"].value
    assert figures["psnr"][6]["copy_last"].value > 40
    assert {name: e.value for name, e in figures["end"].items()} == {"sharpness": 2, "brightness": 2}


class Steep(Panorama):
    """Over for good at its fiftieth step; a run of six seconds has 35, one of eleven 60."""

    def reset(self, *, start=0, seed=0):
        self.steps = 0
        return super().reset(start=start, seed=seed)

    def step(self, action):
        self.steps += 1
        if self.steps >= 50:
            raise EpisodeEnd("over")
        return super().step(action)


def test_reality_astray_stands_still_where_the_game_is_over(reference):
    lost = collect_long(MANIFEST, astray(level("", Steep()), MANIFEST, reference.longs), {11: 2}, lambda text: None)
    motion = lost[11].traits[:, :, 2]  # the warm-up and the context are five of the steps
    assert (motion[:, 44:] == 0).all()
    assert (motion[:, :44].mean(1) > 1).all()


def test_reality_astray_begins_with_the_attempt_that_was_recorded(reference):
    class Other(Panorama):
        def reset(self, *, start=0, seed=0):
            return super().reset(start=start, seed=seed + RETRY)

    tried = []
    lost = astray(level("", Other()), MANIFEST, reference.longs)
    watched = lost._replace(players=lambda seed: tried.append(seed) or lost.players(seed))
    with pytest.raises(EnvError, match="too early"):
        collect_long(MANIFEST, watched, {6: 2}, lambda text: None)
    assert len(tried) > 1


def test_a_dream_does_not_depend_on_its_batch(reference, dreamers):
    context, actions = reference.shorts["A"].frames[:, :3], reference.shorts["A"].actions
    together = dream(dreamers.student, context, actions, range(5))
    alone = dream(dreamers.student, context[4:], actions[4:], [4])
    assert together.shape == (5, 9, 5, 2, 3)
    torch.testing.assert_close(alone[0], together[4], rtol=1e-4, atol=1e-4)


def test_a_piloted_dream_is_the_dream_of_what_its_pilot_did(dreamers, judges):
    """Frame by frame with eyes open, or at once: the same latents, and so the same traits."""
    part, student = judges.piloted[6], dreamers.student
    context, before = np.repeat(part.context, 3, 0), np.repeat(part.actions[:, :3], 3, 0)  # six runs, batches of 4
    flown = fly(student, judges.pilot, SPACE, context, before, 7, 3)
    again = dream(student, context, np.concatenate([before, flown.actions], 1), range(6))
    frames = np.stack([decode(student, latents) for latents in again])
    assert (flown.traits.shape, flown.actions.shape, flown.broken) == ((6, 7, 3), (6, 7, 4), 0)
    np.testing.assert_allclose(flown.frames.astype(int), frames[:, ::3].astype(int), atol=1)
    looks = [traits(np.concatenate([last[-1:], clip]))[1:] for last, clip in zip(context, frames, strict=True)]
    np.testing.assert_allclose(flown.traits, looks, atol=0.05)


def test_a_pilot_that_survives_too_seldom_in_reality_judges_nobody(measured):
    figures = measured[0] | {"piloted": measured[0]["piloted"] | {"may_judge": False}}
    judged = {gate.key: gate for gate in gates(figures, BOUNDS)}
    assert judged["piloted_60"].passed is judged["piloted_300"].passed is None
    assert "real game" in judged["piloted_60"].why


def test_the_passes_that_are_told_are_those_that_were_foreseen(measured, reference, dreamers, judges):
    assert measured[2] == passes(dreamers, reference, judges)


def test_the_protocol_runs_and_its_report_is_complete(measured, reference, tmp_path):
    figures, shown, _ = measured
    assert set(shown.rows) == set(figures["quality"]["rows"]) | {"real"}
    assert figures["quality"]["rows"]["other_episode"]["motion"].value == pytest.approx(1)
    assert figures["branch"]["copy_last"].value == pytest.approx(1 / 3)
    assert figures["speed"]["teacher"]["passes"] == 4
    assert set(figures["splits"]) == {"A", "B", "C/night", "D/spin"}
    about = {"name": "toy", "absent": MANIFEST.absent, "notes": MANIFEST.notes}
    text = write_report(tmp_path, figures, gates(figures, BOUNDS), about, shown, reference.fps)
    report = json.loads((tmp_path / "report.json").read_text())
    judged = {gate["key"]: gate for gate in report["gates"]}
    assert judged.keys() == NAMES.keys()
    assert report["figures"]["astray"]["survival"]["10"]["samples"] == 2
    assert "reality astray" in text
    assert "standing still" in text
    assert judged["survival_60"]["passed"] is None  # eleven seconds were dreamt
    assert judged["context_seconds"]["passed"] is None
    assert all(gate["name"] in text for gate in report["gates"])
    assert report["about"]["survival"].startswith("A run survives if")
    assert {path.name for path in tmp_path.iterdir()} == {
        "report.json", "report.html", "table.txt", "real_vs_dream.png", "sixty_seconds.png", "still.png",
        "piloted.png",
    }  # fmt: skip


def test_the_page_needs_nothing_beside_it(measured, reference, tmp_path):
    figures, shown, _ = measured
    about = {"name": "<toy>", "absent": {"C": "n/a: none"}, "notes": {}}
    write_report(tmp_path, figures, gates(figures, BOUNDS), about, shown, reference.fps)
    page = (tmp_path / "report.html").read_text()
    assert "<toy>" not in page
    assert "&lt;toy&gt;" in page
    assert page.count("<svg") >= 6
    assert page.count("data:image/webp;base64,") >= 5
    assert page.count("http") == page.count("http://www.w3.org/2000/svg")


def test_what_was_not_given_is_not_measured_and_never_passed(reference, dreamers, judges, tmp_path):
    alone = Dreamers(student=dreamers.student, one_step=dreamers.one_step, teacher=None)
    control = replace(CONTROL, turning=None)
    bare = build({}, control, TIER(long={}, piloted={}))
    poor = collect(bare, level, CONTROL.branch, lambda text: None)
    figures, shown = measure(
        alone, poor, replace(judges, inverse=None, pilot=None, piloted={}, astray={}, still=None, control=control)
    )
    assert ("teacher" in shown.rows, figures["turn"], figures["memory"]) == (False, None, {})
    judged = {gate.key: gate for gate in gates(figures, BOUNDS)}
    missing = ("control", "lag", "survival_60", "piloted_60", "not_finite", "memory", "teacher_psnr", "teacher_speed")
    assert all(judged[key].passed is None and judged[key].why for key in missing)
    about = {"name": "toy", "absent": bare.absent, "notes": bare.notes}
    assert "n/a" in write_report(tmp_path, figures, list(judged.values()), about, shown, poor.fps)


def test_a_judge_that_reads_reality_badly_judges_nobody(measured, reference, judges):
    parts = {"A": (measured[1].rows, reference.shorts["A"])}
    figures = measured[0] | inverse_figures(parts, 3, replace(judges, least_f1=1.1))
    assert "fidelity" not in figures["control"]
    judged = {gate.key: gate for gate in gates(figures, BOUNDS)}
    assert judged["control"].passed is judged["teacher_control"].passed is None
    assert "F1" in judged["control"].why


def test_reality_as_a_dream_passes_quality_and_control(reference):
    home = reference.shorts["A"]
    rows = dict.fromkeys(("real", "tokenizer", "student", "teacher"), home.frames[:, 3:])
    rows["student_shuffled"] = np.roll(rows["real"], 1, axis=0)
    rows["copy_last"] = np.repeat(home.frames[:, 2:3], 9, 1)
    figures = quality_figures(rows, home, 3)
    assert figures["gain_moving"][1].low > 3
    assert figures["wrong_action_cost"][1].low > 1
    assert figures["to_teacher"]["psnr"][1].value == 0
    assert figures["rows"]["student"]["usable_horizon"] == 9
    assert turn_figures(rows, home, 3, SPACE, CONTROL)["ratio"].value == 1


def gate(value, least, most, good=None):
    return Gate("branch", value and Estimate(value, value, value, 3), least, most, good, "why")


def test_gates_pass_on_their_bounds():
    assert [gate(v, 0.5, 1.5).passed for v in (0.4, 0.5, 1.5, 1.6)] == [False, True, True, False]
    assert gate(None, 0.5, None).passed is gate(float("nan"), 0.5, None).passed is gate(1.0, None, None).passed is None
    assert [gate(v, 0.5, None, 0.9).is_good for v in (0.4, 0.6, 0.9)] == [False, False, True]
    assert [gate(v, None, 2, 1).is_good for v in (0.5, 1, 2, 3)] == [True, True, False, False]


def test_a_verdict_is_open_while_something_asked_was_not_measured():
    good, bad, open_, unasked = gate(1.0, 0.5, None), gate(0.1, 0.5, None), gate(None, 0.5, None), gate(1.0, None, None)
    assert verdict([good, unasked]) is True
    assert verdict([good, open_]) is None
    assert verdict([good, open_, bad]) is False


def test_a_gate_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="beauty"):
        gates({}, {"beauty": BOUNDS["branch"]})
