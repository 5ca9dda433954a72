"""Frames by different code: alike to rounding, each repeatable to the byte, changed only between frames."""

import shutil
import threading

import numpy as np
import pytest
import torch
from worlds import add_big, make_world

import worldmodel
import worldmodel.backends.play
from worldmodel import Action
from worldmodel.backends import compiled
from worldmodel.backends.compiled import Candidate, Recipe, example
from worldmodel.backends.frame import WholeFrame
from worldmodel.backends.place import dtype_of
from worldmodel.bundle import WorldError

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles with g++")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world") / "tiny")


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORLDMODEL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def engine(path, backend="eager"):
    return worldmodel.Engine(worldmodel.load(path), device="cpu", dtype="float32", backend=backend)


def play(env, steps, first=0):
    held = [{"forward"}, {"attack"}, set(), {"forward", "attack"}]
    return np.stack([env.step(Action(held[i % 4], (float(i % 7 - 3), 0.0))) for i in range(first, first + steps)])


def begun(path, backend="eager"):
    env = engine(path, backend)
    env.reset(start=0, seed=3)
    return env


class Ready:
    """Code that is there at once: eager, called compiled."""

    def __init__(self, recipe, whole):
        self.code, self.problem, self.wants_sample, self.pace_ms = None, None, True, (9.0, 4.0)
        self._whole = whole

    def offer(self, inputs, latent, frame_ms):
        self.wants_sample, self.code = False, self._whole


class Failing:
    code, problem, wants_sample = None, "no compiler", False

    def __init__(self, recipe, whole):
        pass


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(worldmodel.backends.play, "PATIENCE", 1)
    return lambda kind: monkeypatch.setattr(worldmodel.backends.play, "Candidate", kind)


def test_other_code_takes_over_while_playing_and_the_dream_goes_on(path, impatient):
    impatient(Ready)
    plain, env = begun(path), begun(path, "auto")
    told = []
    env.frames.changed = told.append
    assert np.abs(play(plain, 20).astype(int) - play(env, 20)).max() <= 1
    assert (env.backend, told) == ("compiled:2@1", ["frames are compiled:2 from now on: 4.0 ms instead of 9.0"])


def test_what_other_code_has_made_is_not_called_exact(path, impatient):
    """After a change of code, a rewind to before it said exact, though the frames that follow differ by rounding."""
    impatient(Ready)
    env = begun(path, "auto")
    env.frames.changed = lambda line: counts.append(env._index + 1)  # the frame at hand is still made as before
    counts = []
    play(env, 25)
    assert env.reach() == (25 - counts[0], 25)
    env.rewind(25 - counts[0] + 2)
    assert env.reach() == (0, counts[0] - 2)
    play(env, 3)
    assert env.reach()[0] == 3  # those were made anew
    env.reset(start=0, seed=3)
    play(env, 5)
    assert env.reach() == (5, 5)


def test_code_does_not_change_while_it_may_not(path, impatient):
    impatient(Ready)
    env = begun(path, "auto")
    env.frames.may_change = lambda: False
    play(env, 9)
    assert env.backend == "eager@1"


def test_without_machine_code_play_goes_on_and_says_so_once(path, impatient, caplog):
    impatient(Failing)
    plain, env = begun(path), begun(path, "auto")
    assert np.array_equal(play(plain, 9), play(env, 9))
    assert [record.message for record in caplog.records] == ["no machine code (no compiler): play goes on as it is"]


class Restless:
    """Tries two threads from the tenth frame on and keeps them from the twentieth."""

    def __init__(self, counts, count, budget_s):
        self.count, self.budget_s, self.is_trying, self.pace_ms, self.frames = count, budget_s, False, (9.0, 4.0), 0

    def add(self, frame_s):
        self.frames += 1
        self.count = 2 if self.frames >= 10 else 1
        self.is_trying = 10 <= self.frames < 20
        return self.count


@pytest.fixture
def restless(monkeypatch):
    monkeypatch.setattr(worldmodel.backends.play, "Tuner", Restless)
    yield
    torch.set_num_threads(1)


def test_what_another_number_of_threads_has_made_is_not_called_exact(path, restless):
    env = begun(path)
    env.frames.budget_s, told, counts = 0.01, [], []
    env.frames.changed = lambda line: (told.append(line), counts.append(env._index + 1))
    play(env, 25)
    assert (env.backend, torch.get_num_threads()) == ("eager@2", 2)
    assert env.reach() == (25 - counts[0], 25)
    assert told == ["", "threads from now on: 2, 9 of 10 frames within 4.0 ms instead of 9.0"]


@pytest.mark.parametrize(("budget_s", "may_change"), [(None, True), (0.01, False)])
def test_threads_stay_as_they_are_without_a_budget_and_while_recording(path, restless, budget_s, may_change):
    env = begun(path)
    env.frames.budget_s, env.frames.may_change = budget_s, lambda: may_change
    play(env, 25)
    assert (env.backend, env.reach()) == ("eager@1", (25, 25))


def test_code_is_not_built_for_threads_on_trial(path, restless, impatient):
    class Waiting(Ready):
        def __init__(self, recipe, whole):
            super().__init__(recipe, whole)
            built.append(env.frames._tuners[None].frames)

    built = []
    impatient(Waiting)
    worldmodel.backends.play.PATIENCE = 12
    env = begun(path, "auto")
    env.frames.budget_s = 0.01
    play(env, 35)
    assert built == [20]


def test_a_wish_for_threads_is_what_the_frames_are_made_by(path, restless):
    env = engine(path, "eager@2")
    assert (env.backend, torch.get_num_threads()) == ("eager@2", 2)


def test_a_short_visit_builds_nothing(path, monkeypatch):
    monkeypatch.setattr(worldmodel.backends.play, "Candidate", None)
    play(begun(path, "auto"), 20)


def test_an_unknown_backend_is_refused(path):
    for wish in ("fast", "eager:2", "compiled:x", "eager@", "eager@0", "eager@x", "eager@99999"):
        with pytest.raises(WorldError, match="backend="):
            engine(path, wish)


def test_code_for_other_sources_tiers_steps_or_threads_lies_elsewhere(tmp_path):
    recipes = [Recipe(tmp_path, "a", 2, "float32", 1), Recipe(tmp_path, "b", 2, "float32", 1),
               Recipe(tmp_path, "a", 1, "float32", 1), Recipe(tmp_path, "a", 2, "float32", 2),
               Recipe(tmp_path, "a", 2, "float32", 1, tier="big")]  # fmt: skip
    assert len({recipe.path for recipe in recipes}) == 5


def test_the_building_process_builds_the_tier_that_is_played(path, tmp_path, monkeypatch):
    """It is told by words on its command line, which once named the world alone."""

    class Here:
        """The process, as a call."""

        returncode = 0

        def __init__(self, command, **how):
            compiled.main(command[3:])

        def poll(self):
            return 0

    def build(world, recipe):
        built.append((world.tier, recipe))
        recipe.path.touch()

    built = []
    monkeypatch.setattr(compiled.subprocess, "Popen", Here)
    monkeypatch.setattr(compiled, "build_world", build)
    monkeypatch.setattr(compiled.os, "nice", lambda by: None)
    world = worldmodel.load(add_big(shutil.copytree(path, tmp_path / "tall")), "big")
    recipe = compiled.recipe_for(world, 2, torch.float32, 1)
    compiled.build_beside(recipe, threading.Event())
    assert built == [("big", recipe)]


@needs_compiler
@pytest.mark.slow
def test_machine_code_dreams_the_same_and_repeats_itself_to_the_byte(path):
    """Built by a process of its own; a rewind and a saved state lead to the same frames as before."""
    plain, fast = begun(path), begun(path, "compiled")
    before, state = play(fast, 30), fast.state()
    after = play(fast, 9, 30)
    assert np.abs(play(plain, 30).astype(int) - before).max() <= 2
    fast.rewind(9)
    assert np.array_equal(play(fast, 9, 30), after)
    other = engine(path, fast.backend)
    other.load_state(state)
    assert np.array_equal(play(other, 9, 30), after)


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["auto", "compiled"])
def test_a_graph_dreams_what_its_kernels_dream_one_by_one(path, backend):
    """Also after a rewind, which moves the frame counter, and a reset."""
    plain, fast = (
        worldmodel.Engine(worldmodel.load(path), "cuda", dtype="float32", backend=b) for b in ("eager", backend)
    )
    for env in (plain, fast, fast):
        env.reset(start=0, seed=3)
    before = play(fast, 30)
    assert np.abs(play(plain, 30).astype(int) - before).max() <= 2
    fast.rewind(9)
    assert np.array_equal(play(fast, 9, 21), before[21:])


@pytest.mark.parametrize(
    ("made", "took_ms", "word"), [(lambda x0: x0 + 1, 1e9, "off by"), (lambda x0: x0, 0.0, "faster")]
)
def test_machine_code_that_dreams_otherwise_or_is_slower_is_refused(path, monkeypatch, made, took_ms, word):
    world = worldmodel.load(path)
    monkeypatch.setattr("worldmodel.backends.compiled.build_beside", lambda recipe, stop: None)
    monkeypatch.setattr("worldmodel.backends.compiled.Compiled", lambda path: lambda *inputs: (inputs[3] + 1, None))
    whole = WholeFrame(world.model, world.tokenizer, world.sigmas[2], world.noise_scale)
    candidate = Candidate(Recipe(path, world.sha256, 2, "float32", 1), whole)
    inputs = example(world, torch.float32, 2)
    candidate.offer(inputs, made(inputs.x0 + 1), took_ms)
    candidate._thread.join()
    assert candidate.code is None
    assert word in candidate.problem


def test_a_processor_told_to_be_plain_gets_float32(monkeypatch):
    """ATEN_CPU_CAPABILITY=avx2 left bfloat16 on, which oneDNN then refused."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert dtype_of("auto", torch.device("cpu")) == torch.float32
