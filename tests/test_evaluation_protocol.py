"""The whole protocol on a toy game and a tiny network: collected, dreamt, judged, written."""

import json
from functools import partial
from itertools import count

import numpy as np
import pytest
import torch

from worldmodel.action import Action, ActionSpace
from worldmodel.diffusion.rollout import consistency, euler
from worldmodel.env import EnvError
from worldmodel.evaluation.dreamer import Dreamer, dream
from worldmodel.evaluation.protocol import Dreamers, measure
from worldmodel.evaluation.reference import Reference, ReferenceConfig, Script, collect, fingerprint
from worldmodel.evaluation.report import Gate, write_report
from worldmodel.evaluation.statistics import Estimate
from worldmodel.model.dit import CausalDiT, ModelConfig
from worldmodel.model.masks import Sight
from worldmodel.tokenizer.autoencoder import Tokenizer, TokenizerConfig

SPACE = ActionSpace(("forward", "turn_left", "turn_right"), (20.0, 0.0))
SCRIPTS = [Script(buttons=["forward"], turn=0.0), Script(buttons=[], turn=8.0), Script(buttons=[], turn=-8.0)]
CONFIG = partial(
    ReferenceConfig, seed=2_000_000, warm_up=2, context=3, episodes=5, horizon=9, branches=2, branch_steps=4,
    scripts=SCRIPTS, long_runs=2, long_seconds=6.0,
)  # fmt: skip


class Panorama:
    """A toy Env: a view over noise that turns and flickers by seed; forward darkens it."""

    actions, fps, size_hw = SPACE, 5.0, (16, 24)

    def reset(self, *, start=0, seed=0):
        self.rng = np.random.default_rng(seed)
        self.wall = self.rng.integers(60, 256, (16, 400, 3)).astype(np.uint8)
        self.x, self.dark = 200, 0
        return self.frame()

    def step(self, action):
        self.x += round(action.mouse[0] / 4)
        self.dark = min(self.dark + 2 * ("forward" in action.buttons), 50)
        return self.frame()

    def frame(self):
        return self.wall[:, np.arange(self.x, self.x + 24) % 400] - np.uint8(self.dark)

    def close(self):
        pass


def players(seed):
    steps = count()
    return lambda: Action({"forward"} if next(steps) % 7 == 0 else (), (float(np.sin(next(steps) + seed)) * 19, 0.0))


@pytest.fixture(scope="module")
def reference():
    return collect(Panorama(), players, CONFIG(), lambda text: None)


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


def test_reference_has_the_shapes_it_says(reference):
    assert reference.frames.shape == (5, 12, 16, 24, 3)
    assert reference.actions.shape == (5, 12, 5 - 1)
    assert reference.real.shape == (5, 9, 16, 24, 3)
    assert reference.branch_frames.shape == (2, 3, 4, 16, 24, 3)
    assert reference.branch_actions.shape == (2, 3, 7, 4)
    assert reference.long_actions.shape == (2, 33, 4)
    assert reference.long_traits.shape == (2, 30, 3)
    assert reference.long_frames.shape == (2, 3, 16, 24, 3)


def test_actions_led_to_the_frames_beside_them(reference):
    env = Panorama()
    for k, (frames, actions) in enumerate(zip(reference.frames, reference.actions, strict=True)):
        env.reset(seed=2_000_000 + k)
        act = players(2_000_000 + k)
        env.step(act())
        env.step(act())
        for frame, vector in zip(frames, actions, strict=True):
            np.testing.assert_allclose(SPACE.to_vector(action := act()), vector)
            np.testing.assert_array_equal(env.step(action), frame)


def test_collecting_twice_gives_the_same_digest_and_the_file_keeps_it(reference, tmp_path):
    assert collect(Panorama(), players, CONFIG(), lambda text: None).digest() == reference.digest()
    reference.save(tmp_path / "kept" / "reference.npz")
    assert Reference.load(tmp_path / "kept" / "reference.npz").digest() == reference.digest()


def test_a_game_that_does_not_replay_is_refused():
    class Moody(Panorama):
        resets = 0

        def reset(self, **start):
            self.resets += 1
            super().reset(**start)
            self.x += self.resets
            return self.frame()

    with pytest.raises(EnvError, match="deterministic"):
        collect(Moody(), players, CONFIG(), lambda text: None)


def test_settings_name_the_reference_and_training_seeds_are_refused():
    assert fingerprint({"a": 1}, CONFIG()) == fingerprint({"a": 1}, CONFIG())
    others = [fingerprint({"a": 2}, CONFIG()), fingerprint({"a": 1}, CONFIG(horizon=10))]
    assert fingerprint({"a": 1}, CONFIG()) not in others
    with pytest.raises(ValueError, match="training"):
        CONFIG(seed=1_999_999)


def test_a_dream_does_not_depend_on_its_batch(reference, dreamers):
    context, actions = reference.frames[:, :3], reference.actions
    together = dream(dreamers.student, context, actions, range(5))
    alone = dream(dreamers.student, context[4:], actions[4:], [4])
    assert together.shape == (5, 9, 5, 2, 3)
    torch.testing.assert_close(alone[0], together[4], rtol=1e-4, atol=1e-4)


def test_the_protocol_runs_and_its_report_is_complete(reference, dreamers, tmp_path):
    figures, rows, long = measure(dreamers, reference, SPACE, 5.0)
    assert set(rows) == set(figures["quality"]["rows"]) | {"real"}
    assert figures["quality"]["rows"]["other_episode"]["motion"].value == pytest.approx(1)
    assert figures["branch"]["copy_last"].value == pytest.approx(1 / 3)
    assert figures["long"]["survival_real"].value == 1
    assert figures["speed"]["teacher"]["passes"] == 4
    text = write_report(tmp_path, figures, {"name": "toy"}, rows, long)
    report = json.loads((tmp_path / "report.json").read_text())
    gates = {gate["name"]: gate for gate in report["gates"]}
    assert len(gates) == 11
    assert gates["PSNR gain over copy-last, moving, h = 16 (dB)"]["passed"] is None  # nine frames were dreamt
    assert all(name in text for name in gates)
    assert report["about"]["survival"].startswith("A run survives if")
    assert {path.name for path in tmp_path.iterdir()} == {
        "report.json", "table.txt", "real_vs_dream.png", "sixty_seconds.png",
    }  # fmt: skip


def test_the_protocol_runs_without_a_teacher(reference, dreamers, tmp_path):
    alone = Dreamers(student=dreamers.student, one_step=dreamers.one_step, teacher=None)
    figures, rows, long = measure(alone, reference, SPACE, 5.0)
    assert "teacher" not in rows
    write_report(tmp_path, figures, {"name": "toy"}, rows, long)


def test_reality_as_a_dream_passes_quality_and_control(reference, dreamers):
    from worldmodel.evaluation.protocol import quality_figures, turn_figures

    rows = dict.fromkeys(("real", "tokenizer", "student", "teacher"), reference.real)
    rows["student_shuffled"] = np.roll(reference.real, 1, axis=0)
    rows["copy_last"] = np.repeat(reference.frames[:, 2:3], 9, 1)
    figures = quality_figures(rows, reference)
    assert figures["gain_moving"][1].low > 3
    assert figures["wrong_action_cost"][1].low > 1
    assert figures["to_teacher"]["psnr"][1].value == 0
    assert turn_figures(rows, reference, SPACE, 5.0)["ratio"].value == 1


def test_gates_pass_on_their_bound_unless_strict():
    on_it = Estimate(0.0, 0.0, 0.0, 3)
    assert Gate("a", on_it, 0.0).passed is True
    assert Gate("a", on_it, 0.0, True).passed is False
    assert Gate("a", None, 0.0).passed is None
