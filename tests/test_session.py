"""Sessions of a world that counts its steps, on SDL's dummy driver; no test waits for a clock."""

import threading
from types import SimpleNamespace

import numpy as np
import pygame
import pytest

from worldmodel.action import Action, ActionSpace
from worldmodel.data.episode import frame_checksum, load_episode
from worldmodel.data.health import diagnosis
from worldmodel.data.recorder import Recorder
from worldmodel.data.replay import Replay, first_difference
from worldmodel.data.states import Slots
from worldmodel.env import EpisodeEnd
from worldmodel.ui.control import Opening
from worldmodel.ui.keymap import Command
from worldmodel.ui.latch import Feel
from worldmodel.ui.pace import keep_beat
from worldmodel.ui.session import Session
from worldmodel.ui.stats import DONE, END, FLIP, INPUT, LATCH, START
from worldmodel.ui.tape import Tape
from worldmodel.ui.window import Window


class PlainEnv:
    """An Env whose frame is a moving stripe; on_step(n) runs on the model's thread in its n-th step."""

    actions = ActionSpace(("forward", "turn_left", "turn_right", "attack"), (20.0, 0.0))
    fps, size_hw = 500.0, (6, 8)

    def __init__(self, on_step=lambda t: None):
        self.on_step, self.t, self.taken, self.resets = on_step, 0, [], []

    def reset(self, *, start=0, seed=0):
        self.t = 0
        self.resets.append((start, seed))
        return self._frame()

    def step(self, action):
        self.t += 1
        self.taken.append(action)
        self.on_step(len(self.taken))
        return self._frame()

    def close(self):
        pass

    def _frame(self):
        return self.frame_of(self.t)

    @classmethod
    def frame_of(cls, t):
        frame = np.zeros((*cls.size_hw, 3), np.uint8)
        frame[:, t % cls.size_hw[1]] = (255, t % 256, t // 256)
        return frame


class FakeEnv(PlainEnv):
    """The same, Rewindable, with 1, 2 or 4 sampling steps, and with work left after a step."""

    _steps, num_settled, seed = 2, 0, 0
    device = dtype = backend = "fake"
    frames = SimpleNamespace()

    @property
    def steps(self):
        return self._steps

    @steps.setter
    def steps(self, steps):
        if steps not in (1, 2, 4):
            raise ValueError(steps)
        self._steps = steps

    def settle(self):
        self.num_settled += 1

    def state(self):
        return {"t": self.t}

    def load_state(self, state):
        self.t = state["t"]
        return self._frame()

    def reach(self):
        return self.t, self.t

    def rewind(self, frames):
        return self.load_state({"t": max(0, self.t - frames)})


@pytest.fixture
def window(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    opened = Window("test", FakeEnv.size_hw, allow_headless=True)
    pygame.event.clear()
    yield opened
    opened.close()


def idle(step: int) -> Action:
    return Action()


def play(window, commands=None, max_frames=12, env=None, **options):
    """A session in which commands[t] are given after step t; the Env, the session and its messages."""
    said = []
    env = env or FakeEnv()
    inner = env.env if isinstance(env, Recorder) else env
    session = Session(env, window, **{"pace": "uncapped", "say": said.append, **options})
    inner.on_step = lambda t: [session.runner.send(command) for command in (commands or {}).get(t, [])]
    session.run(max_frames, idle)
    return inner, session, said


def test_a_session_plays_its_script_and_times_each_frame(window):
    env = FakeEnv()
    actions = [Action({"forward"}, (float(i), 0.0)) for i in range(9)]
    stats = Session(env, window, pace="uncapped").run(9, actions.__getitem__)
    assert env.taken == actions
    times = stats.times()
    assert times.shape == (9, 7)
    assert (np.diff(times[:, [LATCH, START, END, DONE]]) >= 0).all()
    assert env.num_settled == 9
    assert times[-1, FLIP] >= times[-1, END]


def test_the_last_frame_is_on_the_screen_at_the_end(window):
    play(window, max_frames=7, hud="off")
    width, height = window.surface.get_size()
    assert window.surface.get_at((width * 15 // 16, height // 4))[:3] == (255, 7, 0)  # the stripe of step 7


def test_the_window_keeps_flipping_while_the_model_is_slow(window, monkeypatch):
    """The step waits for six more flips: a window that waited for the model would stand still."""
    flips, six_more = [], threading.Event()
    flip = window.flip
    monkeypatch.setattr(window, "flip", lambda: (flips.append(0), flip(), len(flips) < 6 or six_more.set()))
    answers = []
    env = FakeEnv(on_step=lambda t: answers.append(six_more.wait(20)))
    Session(env, window).run(1, idle)
    assert answers == [True]


def test_what_the_player_does_is_answered_at_the_displays_rate_without_a_frame(window, monkeypatch):
    """In a menu over a standing world each key was seen up to 50 ms late."""
    monkeypatch.setattr("worldmodel.ui.beat.NEWS_S", 1e9)
    session = Session(FakeEnv(), window, redraw="news")
    session.runner._reset()
    session._obey(Command.ESCAPE)
    session._turn(listens=True)
    session.beat.drawn_at -= 0.02
    session._turn(listens=True)
    assert session.runner.stats.num_flips == 1
    pygame.event.post(pygame.Event(pygame.MOUSEMOTION, pos=(1, 1), rel=(1, 1), buttons=(0, 0, 0)))
    session._turn(listens=True)
    assert session.runner.stats.num_flips == 2


def test_keys_reach_the_world_right_before_the_step(window):
    env = FakeEnv()
    session = Session(env, window, pace="uncapped", feel=Feel(degrees_per_pixel=0.5))

    def on_step(t):
        if t == 2:
            session.latch.press(pygame.KSCAN_W)
            session.latch.move(4, 0)

    env.on_step = on_step
    stats = session.run(max_frames=4)
    assert env.taken == [Action(), Action(), Action({"forward"}, (2.0, 0.0)), Action({"forward"})]
    assert np.isnan(stats.times()[:, INPUT]).tolist() == [True, True, False, True]


def test_pause_stops_the_world_and_single_steps_move_it(window):
    paused = []
    env = FakeEnv()
    session = Session(env, window, pace="uncapped")
    commands = {2: [Command.PAUSE, Command.SINGLE_STEP], 3: [Command.SINGLE_STEP], 4: [Command.PAUSE]}

    def on_step(t):
        paused.append(session.runner.is_paused)
        for command in commands.get(t, []):
            session.runner.send(command)

    env.on_step = on_step
    session.run(6, idle)
    assert paused == [False, False, True, True, False, False]


def test_reset_next_start_and_without_one_the_next_seed(window):
    commands = {3: [Command.RESET], 5: [Command.NEXT_START]}
    env, session, _ = play(window, commands, num_starts=3, start=2, seed=9)
    assert env.resets == [(2, 9), (2, 9), (0, 9)]
    assert session.runner.frame_index == 7
    env, _, _ = play(window, commands, num_starts=1, seed=9)
    assert env.resets == [(0, 9), (0, 9), (0, 10)]


def test_time_runs_backwards_while_the_key_is_held_and_goes_on_from_there(window):
    """Held for as many frames as the test sees go by; a tap goes back one frame."""
    env = FakeEnv()
    said, back = [], []
    session = Session(env, window, pace="uncapped", say=said.append)
    rewind = env.rewind

    def rewound(frames):
        back.append(frames)
        if len(back) == 7:
            session.runner.send(Command.STOP_REWIND)
        return rewind(frames)

    env.rewind = rewound
    env.on_step = lambda t: t == 25 and session.runner.send(Command.REWIND)
    session.run(26, idle)
    assert back == [1] * 7
    assert env.t == session.runner.frame_index == 25 - 7 + 1
    assert said[-1] == "went back 0.0 s (exact): a new branch"


def test_no_rewind_goes_further_back_than_the_world_remembers(window):
    env, session, _ = play(window, {3: [Command.REWIND, Command.STOP_REWIND] * 9}, max_frames=4)
    assert env.t == session.runner.frame_index == 1


def test_a_rewind_beyond_the_exact_reach_says_approximate(window, monkeypatch):
    monkeypatch.setattr(FakeEnv, "reach", lambda env: (0, env.t))
    _, session, said = play(window, {5: [Command.REWIND, Command.STOP_REWIND]}, max_frames=6)
    assert "approximate" in said[-1]
    assert not session.runner.is_exact


def test_save_and_load_go_back_to_the_frame_of_the_save(window, tmp_path):
    slots = Slots(tmp_path, "fake", "here")
    commands = {4: [Command.SAVE], 9: [Command.LOAD], 10: [Command.NEXT_SLOT, Command.LOAD]}
    env, session, said = play(window, commands, slots=slots)
    assert env.t == session.runner.frame_index == 4 + 12 - 9
    assert said[1:] == [f"saved to slot 0: {slots.path(0)}", "loaded slot 0", "not loaded: slot 1 is empty"]
    np.testing.assert_array_equal(slots.peek(0).frame, FakeEnv.frame_of(4))


def test_a_save_that_fails_is_told_and_play_goes_on(window, tmp_path):
    (tmp_path / "file").write_text("")
    env, _, said = play(window, {3: [Command.SAVE]}, slots=Slots(tmp_path / "file", "fake", "here"))
    assert len(env.taken) == 12
    assert said[1].startswith("not saved:")


def test_the_slots_are_shown_after_their_key(window, tmp_path):
    slots = Slots(tmp_path, "fake", "here")
    _, session, _ = play(window, {4: [Command.SAVE]}, slots=slots, hud="off")
    plain = pygame.surfarray.array3d(window.surface)
    session._obey(Command.NEXT_SLOT)
    session.beat.drawn_at = 0.0
    session._turn(listens=True)
    assert (pygame.surfarray.array3d(window.surface) != plain).any()
    assert [cell.frame is not None for cell in session.strips.slot_cells] == [True] + [False] * 9


def test_sampling_steps_stay_above_zero(window):
    env, session, said = play(window, {1: [Command.MORE_STEPS], 2: [Command.FEWER_STEPS] * 5})
    assert env.steps == session.runner.steps == 1
    assert said[1] == "4 sampling steps"  # there are no 3
    assert said[-1] == "1 sampling steps, there are no fewer"


def test_a_world_that_cannot_says_so(window):
    commands = {1: [Command.REWIND, Command.MORE_STEPS, Command.RECORD]}
    _, _, said = play(window, commands, env=PlainEnv())
    assert said[1:] == [
        "this world cannot go back",
        "this world has no sampling steps",
        "this world is not recorded",
    ]


def recorder(folder):
    return Recorder(FakeEnv(), folder, source="real", game="fake")


def test_record_on_and_off_makes_an_episode_of_what_was_between(window, tmp_path):
    _, session, said = play(window, {3: [Command.RECORD], 8: [Command.RECORD]}, env=recorder(tmp_path))
    assert said[1:] == [f"recorded {tmp_path / '000000'}"]
    assert Replay(tmp_path / "000000").episode.num_steps == 5
    assert session.runner.taping.recording_since is None


def test_the_last_seconds_are_kept_without_having_recorded(window, tmp_path, monkeypatch):
    """Steps 1 to 9, of which 2 were taken back, at a tape of 5 steps: the frames of steps 4 to 9."""
    monkeypatch.setattr("worldmodel.ui.tape.SECONDS", 5 / FakeEnv.fps)
    back = [Command.REWIND, Command.STOP_REWIND]
    commands = {2: back * 2, 11: [Command.KEEP_LAST]}
    _, _, said = play(window, commands, env=recorder(tmp_path / "rec"), out=tmp_path / "out")
    assert said[-1].startswith(f"kept 0 s: {tmp_path / 'rec' / '000000'} and")
    episode = load_episode(tmp_path / "rec" / "000000")
    assert episode.num_steps == 5
    assert episode.checksums == tuple(frame_checksum(FakeEnv.frame_of(t)) for t in range(4, 10))
    assert sorted(p.suffix for p in (tmp_path / "out").iterdir()) == [".gif", ".mp4", ".png"]
    assert episode.meta.extra["begun"] == "tape"


def test_a_tape_made_by_two_codes_cannot_be_made_again():
    """Frames by other code are equal up to rounding only."""
    for codes, is_whole in ((["eager"] * 3, True), (["eager", "eager", "compiled"], False)):
        tape = Tape(FakeEnv.fps, (8, 8))
        tape.begin(FakeEnv.frame_of(0), is_reset=True)
        for t, code in enumerate(codes, 1):
            tape.add(Action(), FakeEnv.frame_of(t), 2, code)
        assert tape.is_whole == is_whole


def test_a_short_tape_holds_all_since_the_reset_and_can_be_made_again(window, tmp_path):
    play(window, {7: [Command.KEEP_LAST]}, env=recorder(tmp_path / "rec"), out=tmp_path / "out")
    episode = load_episode(tmp_path / "rec" / "000000")
    assert episode.num_steps == 7
    assert first_difference(FakeEnv(), episode) is None


def test_what_cannot_be_kept_is_told(window, tmp_path):
    (tmp_path / "file").write_text("")
    _, _, said = play(window, {7: [Command.KEEP_LAST]}, env=recorder(tmp_path / "file"), out=tmp_path / "out")
    assert said[-1].startswith("not kept:")


class Seer(FakeEnv):
    """Looks ahead: its frame of a prospect is all of one value, the number of the action."""

    def what_if(self, actions, frames):
        self.asked = actions, frames
        return [np.full((*self.size_hw, 3), 40 * i, np.uint8) for i in range(len(actions))]


def paused_session(window, env, steps):
    """A session that stands after so many steps, paused, with its window drawn once."""
    session = Session(env, window, pace="uncapped", hud="off")
    env.on_step = lambda t: t == steps and session.runner.send(Command.PAUSE)
    session.runner._reset()
    for _ in range(steps):
        session.runner._step()
    session.runner._obey()
    assert session.runner.is_paused
    session._turn(listens=True)
    return session


def test_what_if_shows_a_picture_for_each_key_and_the_chosen_one_is_played_for_a_second(window, monkeypatch):
    monkeypatch.setattr(Seer, "fps", 5.0)
    env = Seer()
    session = paused_session(window, env, 3)
    session._obey(Command.WHAT_IF)
    session.runner._obey()
    session.beat.drawn_at = 0.0
    session._turn(listens=True)
    assert env.asked == ([Action(), *(Action({name}) for name in env.actions.buttons)], 5)
    assert len(session.window.focus.places) == 5
    pygame.event.post(pygame.event.Event(pygame.MOUSEBUTTONDOWN, button=1, pos=session.window.focus.places[1].center))
    session._turn(listens=True)
    session.runner._obey()
    assert not session.runner.is_paused
    while session.runner.control.is_opening:
        session.runner._step()
    assert env.taken[3:] == [Action({"forward"})] * 5
    assert session.runner.is_paused
    assert session.runner.fan == []


def test_a_click_on_the_timeline_goes_there(window):
    env = FakeEnv()
    session = paused_session(window, env, 30)
    cells = session.strips.rows[0].cells
    moments = [cell.place[1] for cell in cells]
    assert moments[-1] == 30
    assert len(moments) == len(session.window.focus.places) <= 12
    for cell in cells:
        np.testing.assert_array_equal(cell.frame, FakeEnv.frame_of(cell.place[1]))
    pygame.event.post(pygame.event.Event(pygame.MOUSEBUTTONDOWN, button=1, pos=session.window.focus.places[4].center))
    session._turn(listens=True)
    session.runner._obey()
    assert env.t == session.runner.frame_index == moments[4]
    assert session.runner.is_paused
    assert len(session.runner.tape.frames()) == moments[4] + 1


def test_what_a_world_cannot_show_it_says(window):
    session = paused_session(window, FakeEnv(), 3)
    for command in (Command.WHAT_IF, Command.RESYNC):
        session.runner.send(command)
    session.runner._obey()
    lines = [session.runner.messages.get(), session.runner.messages.get()]
    assert "pause a dreamed world" in lines[0]
    assert "env=both" in lines[1]


def test_an_opening_is_played_before_the_player_and_again_after_a_reset(window):
    moves = [(Action({"forward"}), 4), (Action({"attack"}), None)]
    env, said = FakeEnv(), []
    opening = Opening(moves, begin=lambda env: env.reset(start=5), is_fast=True)
    session = Session(env, window, pace="turn", say=said.append, opening=opening)

    def on_step(t):
        if t == 2:
            session.latch.press(pygame.KSCAN_LEFT)
        if t == 3:
            session.runner.send(Command.RESET)

    env.on_step = on_step
    session.run(max_frames=6)
    names = [sorted(action.buttons) for action in env.taken]
    assert names == [["forward"], ["attack"], ["turn_left"], ["forward"], ["attack"], ["turn_left"]]
    assert env.resets == [(5, 0)] * 2
    assert env.steps == 4
    assert said.count("frame 2: yours from here") == 2


class FrailEnv(FakeEnv):
    """Its dream breaks at the given times, with seed 0 only unless is_hopeless."""

    fps, is_hopeless = 10.0, False

    def step(self, action):
        frame = super().step(action)
        is_broken = self.t == 15 and (self.is_hopeless or self.seed == 0)
        return np.zeros_like(frame) if is_broken else frame


def frail(folder, env):
    return Recorder(env, folder, check=lambda frame: diagnosis(env, frame), source="real", game="fake")


def test_a_broken_frame_is_never_shown_or_recorded_and_the_world_goes_back_a_second(window, tmp_path):
    env = frail(tmp_path, FrailEnv())
    env.start()
    shown, said = [], []
    session = Session(env, window, pace="uncapped", say=said.append)
    publish = session.runner._publish
    session.runner._publish = lambda frame, *rest: (shown.append(frame), publish(frame, *rest))
    session.run(20, idle)
    assert said[1] == "the dream broke (the picture was one colour): back to 0.9 s ago"
    assert all(frame.any() for frame in shown)
    assert env.env.t == session.runner.frame_index == 5 + 6  # 14 good steps, 9 of them taken back, 6 more
    first, second = (load_episode(tmp_path / name) for name in ("000000", "000001"))
    assert first.num_steps == 14
    assert second.meta.parent == {"episode": "000000", "frame": 5}
    assert first_difference(FrailEnv(), first) is None


def test_a_dream_that_keeps_breaking_goes_back_to_the_start_and_waits(window, tmp_path):
    env = frail(tmp_path, FrailEnv())
    env.env.is_hopeless = True
    said = []
    session = Session(env, window, pace="uncapped", say=said.append)
    env.env.on_step = lambda t: t > 60 and session.runner.stop()
    resumed = []
    wait = session.runner._wake.wait
    session.runner._wake.wait = lambda s: (resumed.append(0), session.runner.stop(), wait(s))
    session.run(80, idle)
    assert [line.split("): ")[1] for line in said[1:]] == ["back to 0.9 s ago"] * 2 + ["back to the start"]
    assert session.runner.is_paused
    assert env.env.t == 0
    assert resumed


def test_an_error_in_the_world_ends_the_session_and_keeps_the_recording(window, tmp_path):
    env = recorder(tmp_path)
    env.start()
    said = []

    def on_step(t):
        if t == 6:
            raise RuntimeError("the dream broke")

    env.env.on_step = on_step
    window.capture()
    with pytest.raises(RuntimeError, match="the dream broke"):
        Session(env, window, pace="uncapped", say=said.append).run(20, idle)
    assert said[-1] == f"recorded {tmp_path / '000000'}"
    assert Replay(tmp_path / "000000").episode.num_steps == 5
    assert not window.is_captured


def test_a_failed_recording_is_told_and_play_goes_on(window, tmp_path):
    (tmp_path / "file").write_text("")
    env, _, said = play(window, {3: [Command.RECORD]}, env=recorder(tmp_path / "file"))
    assert len(env.taken) == 12
    assert said[1].startswith("recording stopped:")


def test_the_end_of_an_episode_waits_for_the_player(window):
    """Quit is posted when the world has ended; the session must still listen."""

    def on_step(t):
        if t == 3:
            pygame.event.post(pygame.event.Event(pygame.QUIT))
            raise EpisodeEnd

    said = []
    session = Session(FakeEnv(on_step), window, say=said.append)
    session.run()
    assert session.runner.is_over
    assert said[-1] == "the episode is over"
    assert session._hint(0.0) == "the end  \u00b7  F4 again"


def test_a_replay_shows_what_was_pressed(window, tmp_path):
    source = recorder(tmp_path)
    source.start()
    source.reset()
    for name in ("forward", "attack"):
        source.step(Action({name}))
    source.close()
    session = Session(Replay(tmp_path / "000000"), window, pace="uncapped")
    session.run(99, idle)
    assert session._shown.action == Action({"attack"})


def test_in_turns_the_world_waits_for_a_key(window, monkeypatch):
    env, looks = FakeEnv(), []
    session = Session(env, window, pace="turn")

    def is_idle(latch):
        looks.append(len(env.taken))
        if len(looks) == 5:
            latch.press(pygame.KSCAN_W)
        return len(looks) < 5

    monkeypatch.setattr(type(session.latch), "is_idle", property(is_idle))
    session.run(max_frames=1)
    assert looks == [0] * 5
    assert env.taken == [Action({"forward"})]


def test_commands_of_the_window(window, tmp_path):
    env = FakeEnv()
    session = Session(env, window, hud="off", out=tmp_path / "out")
    codes = [pygame.KSCAN_F1, pygame.KSCAN_F2, pygame.KSCAN_F12]

    def on_step(t):
        if t == 2:
            for code in codes:
                pygame.event.post(pygame.event.Event(pygame.KEYDOWN, scancode=code, key=0, mod=0))
            pygame.event.post(pygame.event.Event(pygame.QUIT))

    env.on_step = on_step
    session.run()
    assert session.hud.is_table_shown
    assert session.hud.level == "min"
    assert len([*(tmp_path / "out").glob("*.png")]) == 1


def test_deadlines_keep_the_beat_and_a_late_model_does_not_race(monkeypatch):
    now, slept = [10.0], []
    monkeypatch.setattr("worldmodel.ui.pace.time.perf_counter", lambda: now[0])
    monkeypatch.setattr("worldmodel.ui.pace.time.sleep", slept.append)
    assert keep_beat(10.5, 1.0) == 11.5  # early: sleep, the beat stays
    assert keep_beat(9.5, 1.0) == 10.5  # a little late: the beat stays
    assert keep_beat(2.0, 1.0) == 11.0  # far behind: a new beat
    assert slept == [0.5]
