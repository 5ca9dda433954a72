"""Lines of play: who goes back and on begins another, and the one that was left can be gone to again."""

from types import SimpleNamespace

import numpy as np
import pygame
import pytest
from test_gamepad import button
from test_session import FakeEnv, Slots, window  # noqa: F401  a fixture
from test_window import key
from worlds import make_world

import worldmodel
from worldmodel.action import Action
from worldmodel.data.episode import list_episodes, load_episode
from worldmodel.data.recorder import Recorder
from worldmodel.ui import branches as branches_module
from worldmodel.ui.keymap import Command
from worldmodel.ui.session import Session
from worldmodel.ui.timeline import COLUMNS, tree

LEFT, RIGHT, UP, DOWN = pygame.KSCAN_LEFT, pygame.KSCAN_RIGHT, pygame.KSCAN_UP, pygame.KSCAN_DOWN


class Branched(FakeEnv):
    """Its frame shows which step was made with which key. Going back is exact for 20 frames."""

    fps = 10.0

    def reset(self, **begun):
        self.walked = ()
        return super().reset(**begun)

    def step(self, action):
        self.walked = (*self.walked, "attack" in action.buttons)
        return super().step(action)

    def _frame(self):
        frame = self.frame_of(self.t)
        frame[0, :, 1] = sum(self.walked) % 256
        return frame

    def what_if(self, actions, frames):
        return [self._frame() for _ in actions]

    def rewind(self, frames):
        self.walked = self.walked[: len(self.walked) - frames]
        return super().rewind(frames)

    def past(self):
        return SimpleNamespace(walked=self.walked, exact=min(20, len(self.walked)), frames=len(self.walked))

    def thinned(self, past, frames):
        return SimpleNamespace(walked=past.walked, exact=min(past.exact, frames), frames=min(past.frames, frames))

    def return_to(self, past):
        self.walked, self.t = past.walked, len(past.walked)
        return self._frame()

    def reach(self):
        return min(20, self.t), self.t


def session(window, env=None, **options):  # noqa: F811
    made = Session(env or Branched(), window, pace="uncapped", hud="off", **options)
    made.runner._reset()
    return made


def steps(runner, count, name="wait"):
    runner.control.script = lambda t: Action() if name == "wait" else Action({name})
    for _ in range(count):
        runner._step()
    runner.control.script = None


def ask(runner, *commands):
    for command, number in commands:
        runner.send(command, number)
    runner._obey()


def drawn(made):
    """Paused, and the window drawn once."""
    made.runner.is_paused = True
    made.beat.drawn_at = 0.0
    made._turn(listens=True)
    return made.strips.rows


def forked(made):
    """Branch 1 to frame 30, branch 2 from frame 12 of it to 20, and back there from branch 3, frame 17, to 25."""
    runner = made.runner
    steps(runner, 30)
    ask(runner, (Command.REWIND, 0), (Command.STOP_REWIND, 0))
    ask(runner, (Command.HOLD, 0), (Command.STEP_BACK, 17))
    steps(runner, 8, "attack")
    ask(runner, (Command.STEP_BACK, 3))
    steps(runner, 8)
    return runner


def test_going_back_and_on_begins_a_branch_where_it_left_the_other(window):  # noqa: F811
    runner = forked(session(window))
    assert (runner.branches.number, runner.frame_index) == (3, 25)
    assert [(line.number, line.parent, line.fork, line.tip) for line in runner.branches.lines] == [
        (1, None, 0, 30), (2, 1, 12, 20),
    ]  # fmt: skip
    assert (runner.branches.parent, runner.branches.fork) == (2, 17)


def test_going_back_beyond_where_a_branch_began_leaves_its_parent(window):  # noqa: F811
    runner = forked(session(window))
    ask(runner, (Command.STEP_BACK, 20))
    steps(runner, 2)
    assert (runner.branches.number, runner.branches.parent, runner.branches.fork) == (4, 1, 5)


def test_a_branch_that_was_left_is_gone_on_with_as_if_nothing_had_been_between(window):  # noqa: F811
    runner = forked(session(window))
    ask(runner, (Command.GO, (1, 30)))
    assert (runner.branches.number, runner.frame_index, runner.env.walked) == (1, 30, (False,) * 30)
    assert [line.number for line in runner.branches.lines] == [2, 3]
    steps(runner, 1)
    assert (runner.branches.number, runner.frame_index) == (1, 31)  # at its end: it grows
    ask(runner, (Command.GO, (2, 18)))
    steps(runner, 1)
    assert (runner.branches.number, runner.branches.parent, runner.branches.fork) == (4, 2, 18)


def test_a_step_back_and_forth_again_is_no_branch(window):  # noqa: F811
    made = session(window)
    steps(made.runner, 9)
    ask(made.runner, (Command.HOLD, 0), (Command.STEP_BACK, 4))
    drawn(made)
    assert [cell.place[1] for cell in made.strips.rows[0].cells] == list(range(10))
    assert made.strips.rows[0].now == 5
    made.strips.choose(9)
    made.runner._obey()
    steps(made.runner, 1)
    assert (made.runner.branches.number, made.runner.frame_index, made.runner.branches.lines) == (1, 10, ())


def test_a_reset_and_a_save_begin_a_branch_and_the_line_before_is_kept(window, tmp_path):  # noqa: F811
    runner = session(window, slots=Slots(tmp_path, "fake", "here"), num_starts=3).runner
    steps(runner, 6)
    ask(runner, (Command.SAVE, 0))
    steps(runner, 3)
    ask(runner, (Command.NEXT_START, 0))
    assert (runner.branches.number, runner.start) == (2, 1)
    ask(runner, (Command.RESET, 0), (Command.RESET, 0))  # nothing was played in between
    assert runner.branches.number == 2
    steps(runner, 2)
    runner.env.load_state = lambda state: runner.env.return_to(SimpleNamespace(walked=(True,) * state["t"]))
    ask(runner, (Command.LOAD, 0))
    assert (runner.branches.number, runner.branches.parent, runner.frame_index) == (3, None, 6)
    ask(runner, (Command.GO, (1, 9)))
    assert (runner.start, runner.frame_index, runner.branches.number) == (0, 9, 1)


def test_a_load_that_fails_leaves_nothing(window, tmp_path):  # noqa: F811
    runner = session(window, slots=Slots(tmp_path, "fake", "here")).runner
    steps(runner, 6)
    ask(runner, (Command.LOAD, 0))
    steps(runner, 1)
    assert (runner.branches.number, runner.branches.lines) == (1, ())


def test_a_what_if_begins_a_branch_and_before_it_can_be_gone_back_to(window):  # noqa: F811
    runner = session(window).runner
    steps(runner, 6)
    ask(runner, (Command.HOLD, 0), (Command.WHAT_IF, 0), (Command.CHOOSE, 4))
    while runner.control.is_opening:
        runner._step()
    assert (runner.branches.number, runner.branches.parent, runner.branches.fork) == (2, 1, 6)
    ask(runner, (Command.GO, (1, 6)))
    assert not any(runner.env.walked)


def test_the_tree_begins_each_branch_where_it_left_its_parent(window):  # noqa: F811
    rows = tree(forked(session(window)))
    assert [{cell.place[0] for cell in row.cells} for row in rows] == [{3}, {1}, {2}]
    now, first, second = rows
    assert now.cells[now.now].place == (3, 25)
    assert [cell.place[1] for cell in second.cells] == [20]
    assert [cell.place[1] for cell in first.cells] == [15, 18, 21, 24, 27, 30]
    for row, fork in ((second, 17), (first, 12)):
        assert row.parent == 0
        assert now.cells[row.column - 1].place[1] <= fork < now.cells[row.column].place[1]
    assert all(row.column + len(row.cells) <= COLUMNS for row in rows)
    np.testing.assert_array_equal(first.cells[-1].frame[1:], FakeEnv.frame_of(30)[1:])


def test_the_tree_is_drawn_whatever_the_models_thread_is_doing(window):  # noqa: F811
    """It reads the place and the tape while they change: one of them may be ahead of the other."""
    made = session(window)
    runner = forked(made)
    for index, cut in ((25, 3), (22, 0), (40, 1), (0, 0), (3, 99)):
        runner.frame_index = index
        runner.tape.cut(cut)
        assert drawn(made)[0].cells
    runner.tape._steps.clear()
    assert drawn(made)[0].cells == []


def test_lines_are_compared_by_being_the_same(tmp_path):
    """Two that hold tensors are not: which of a row's pictures are new was asked of them by value."""
    engine = worldmodel.Engine(worldmodel.load(make_world(tmp_path / "tiny")), "cpu", threads=1)
    engine.reset()
    for _ in range(30):
        engine.step(Action())
    assert engine.past() != engine.thinned(engine.past(), 3)


def test_what_can_only_be_gone_to_approximately_is_marked_and_told(window):  # noqa: F811
    made = session(window)
    steps(made.runner, 40)
    ask(made.runner, (Command.STEP_BACK, 0), (Command.HOLD, 0))
    cells = drawn(made)[0].cells
    marked = [cell.place[1] for cell in cells if cell.caption.startswith("~")]
    assert marked == [cell.place[1] for cell in cells if cell.place[1] < 20]
    for index, kind in ((30, "exact"), (3, "approximate")):
        ask(made.runner, (Command.GO, (made.runner.branches.number, index)))
        steps(made.runner, 1)
        lines = []
        while not made.runner.messages.empty():
            lines.append(made.runner.messages.get())
        assert made.runner.is_exact == (kind == "exact"), lines
        ask(made.runner, (Command.GO, (1, 40)))


@pytest.mark.parametrize("count", [3, 20])
def test_only_so_many_lines_frames_and_pictures_are_kept(window, monkeypatch, count):  # noqa: F811
    monkeypatch.setattr(branches_module, "MOST_EXACT", 25)
    runner = session(window).runner
    for _ in range(count):
        steps(runner, 14)
        ask(runner, (Command.HOLD, 0), (Command.STEP_BACK, 12))
    steps(runner, 1)
    lines = runner.branches.lines
    assert len(lines) == min(count, branches_module.MOST_LINES)
    assert [line.past.exact for line in lines[::-1]][:3] == [12, 12, 1]
    assert sum(line.past.frames for line in lines) <= 25
    monkeypatch.setattr(branches_module, "MOST_BYTES", 30 * 6 * 8 * 3)
    ask(runner, (Command.STEP_BACK, 1))
    steps(runner, 1)
    frames = {id(frame) for line in runner.branches.lines for frame in line.tape.frames()}
    assert len(runner.branches.lines) >= 1
    assert len(frames) <= 30 or len(runner.branches.lines) == 1


def test_a_dream_gone_back_to_by_branch_is_byte_equal_and_recorded_as_a_child(window, tmp_path):  # noqa: F811
    world = worldmodel.load(make_world(tmp_path / "tiny"))
    engine = worldmodel.Engine(world, "cpu", threads=1, dtype="float32")
    recorder = Recorder(engine, tmp_path / "rec", source="real", game="tiny")
    runner = session(window, recorder).runner
    recorder.start()
    steps(runner, 20)
    shown = runner.mailbox.last.frame
    ask(runner, (Command.HOLD, 0), (Command.STEP_BACK, 9))
    steps(runner, 15, "attack")
    ask(runner, (Command.GO, (1, 20)))
    np.testing.assert_array_equal(runner.mailbox.last.frame, shown)
    steps(runner, 5)
    other = worldmodel.Engine(world, "cpu", threads=1, dtype="float32")
    other.reset()
    frames = [other.step(Action()) for _ in range(25)]
    np.testing.assert_array_equal(runner.mailbox.last.frame, frames[-1])
    np.testing.assert_array_equal(runner.tape.frames()[-25:], frames)
    recorder.stop()
    episodes = [load_episode(path) for path in list_episodes(tmp_path / "rec")]
    assert [e.meta.parent for e in episodes] == [None, *[{"episode": "000000", "frame": n} for n in (11, 20)]]
    assert [e.num_steps for e in episodes] == [20, 15, 5]


def test_a_pause_gives_the_pointer_back_for_the_pictures_and_then_takes_it_again(window):  # noqa: F811
    made = session(window)
    steps(made.runner, 9)
    window.capture()
    seen = []
    for _ in range(2):
        key(pygame.KEYDOWN, pygame.KSCAN_P)
        made._turn(listens=True)
        made.runner._obey()
        seen.append((made.runner.is_paused, window.is_captured))
    assert seen == [(True, False), (False, True)]


def test_a_world_that_only_goes_back_has_one_line(window):  # noqa: F811
    runner = session(window, FakeEnv()).runner
    steps(runner, 9)
    ask(runner, (Command.HOLD, 0), (Command.STEP_BACK, 4))
    steps(runner, 2)
    assert (runner.branches.number, runner.branches.lines, runner.frame_index) == (1, (), 7)


def test_a_dream_that_broke_is_not_kept_when_it_begins_anew(window):  # noqa: F811
    runner = session(window).runner
    steps(runner, 9)
    runner.env.reach = lambda: (0, 0)
    runner._recover("ill")
    assert (runner.branches.number, runner.branches.lines, runner.frame_index) == (1, (), 0)


@pytest.mark.parametrize("device", ["keyboard", "gamepad"])
def test_arrows_or_the_cross_choose_among_the_timeline_and_what_if(window, device):  # noqa: F811
    made = session(window)
    made.hud.has_pad = device == "gamepad"
    runner = forked(made)

    def hit(*names):
        codes = {"LEFT": LEFT, "RIGHT": RIGHT, "UP": UP, "DOWN": DOWN, "A": pygame.KSCAN_RETURN, "Y": pygame.KSCAN_TAB}
        for name in names:
            if device == "keyboard":
                key(pygame.KEYDOWN, codes[name])
            else:
                button(name if name in "AY" else f"DPAD_{name}")
                button(name if name in "AY" else f"DPAD_{name}", is_down=False)
        made._turn(listens=True)
        runner._obey()
        drawn(made)

    drawn(made)
    hit("DOWN", *["RIGHT"] * 9, "A")  # from now down to branch 1
    assert (runner.branches.number, runner.frame_index) == (1, 30)
    hit("LEFT", "LEFT", "A")
    assert (runner.branches.number, runner.frame_index) == (1, made.strips.rows[0].cells[-3].place[1])
    hit("Y")
    assert len(window.focus.places) == len(runner.fan) == 5
    hit("RIGHT", "RIGHT", "A")
    assert not runner.fan
    assert runner.control._moves[0][0] == Action({"turn_left"})
    assert made.latch.is_idle
