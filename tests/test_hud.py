import time
from types import SimpleNamespace

import numpy as np
import pygame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_session import FakeEnv

from worldmodel.action import Action, ActionSpace
from worldmodel.ui.bindings import default_bindings
from worldmodel.ui.hud import LEVELS, Hud, _drift_line
from worldmodel.ui.keycaps import KEY, KeyCaps
from worldmodel.ui.keymap import KEYS, Command
from worldmodel.ui.latch import Feel, Latch
from worldmodel.ui.paint import INK, LIT, RED, fitted, lettering, plate, wrapped
from worldmodel.ui.readings import Meters, Readings
from worldmodel.ui.runner import Runner
from worldmodel.ui.stats import END, FLIP, INPUT, KEPT_FRAMES, START, Stats

SPACE = ActionSpace(("forward", "strafe_left", "turn_left", "attack", "use"), (20.0, 0.0))
PICTURE = pygame.Rect(160, 0, 640, 480)
GREY = (90, 90, 90)


def readings(**changed) -> Readings:
    values = {"fps": 17.4, "world_fps": 17.5, "model_ms": 38.0, "model_p99_ms": 45.0, "input_ms": float("nan")}
    values |= {"steps": 2, "action": Action({"forward"}, (5.0, 0.0)), "recording_s": 41.0, "start": "0", "seed": 7}
    return Readings(
        **{
            **values,
            "frame_index": 9,
            "branch": 1,
            "num_unseen": 0,
            "spans": {"model": (38.0, 45.0, [37.0, 38.0, 45.0])},
            "facts": ["cpu, float32"],
            "status": None,
            "control": "human",
            "drift": None,
            "num_dropped": 0,
            "divergence": None,
            "is_paused": False,
            "rewound_s": None,
            "is_exact": True,
            "hint": "",
            **changed,
        }
    )


def drawn(hud: Hud, picture: pygame.Rect = PICTURE, **changed) -> np.ndarray:
    """Where the hud left a mark on a grey window of 960 x 480: bool (H, W)."""
    surface = pygame.Surface((960, 480))
    surface.fill(GREY)
    hud.draw(surface, picture, readings(**changed))
    return (pygame.surfarray.array3d(surface).swapaxes(0, 1) != GREY).any(-1)


def hud(level: str = "min") -> Hud:
    return Hud("doom (dream)", SPACE, default_bindings(SPACE.buttons), level)


def test_off_draws_nothing():
    assert not drawn(hud("off")).any()


@pytest.mark.parametrize("level", LEVELS)
def test_the_middle_of_the_picture_stays_free(level):
    assert not drawn(hud(level))[160:320, 320:640].any()


def test_meters_stand_in_the_bars_where_there_are_any():
    marks = drawn(hud("min"), action=Action())
    assert marks[:, : PICTURE.left].any()
    assert not marks[:, PICTURE.left : PICTURE.right].any()


def test_more_is_shown_at_each_level():
    marks = [drawn(hud(level)).sum() for level in LEVELS]
    assert marks[0] < marks[1] < marks[2]


def test_who_acts_is_told_at_both_levels():
    for level in ("min", "full"):
        assert (drawn(hud(level)) != drawn(hud(level), control="replay" * 9)).any()


def test_meters_that_are_off_measure_nothing(monkeypatch):
    env = FakeEnv()
    runner = Runner(env, Latch(env.actions, {}, Feel(), 10.0), "turn", 0, 0, 1)
    runner._reset()
    monkeypatch.setattr(Stats, "ms", lambda *args: 1 / 0)
    seen = Meters(runner, None).read(runner.mailbox.last, "", "off")
    assert (seen.spans, seen.facts, seen.control) == ({}, [], "human, turn by turn")


def test_levels_go_round():
    meters = hud("off")
    seen = []
    for _ in LEVELS:
        meters.next_level()
        seen.append(meters.level)
    assert seen == ["min", "full", "off"]


def test_a_pressed_key_lights_its_cap_and_no_other():
    idle, pressed = drawn(hud(), action=Action()), drawn(hud(), action=Action({"use"}))
    rows, columns = np.nonzero(idle != pressed)
    assert 0 < np.ptp(rows) < KEY * 20
    assert np.ptp(columns) < KEY * 20


def test_no_two_caps_overlap():
    buttons = [*SPACE.buttons, "jump", "run", "fly", "turn_right", "strafe_right", "backward"]
    places = KeyCaps(SPACE, default_bindings(buttons))._places.values()
    boxes = [pygame.Rect(100 * column, 100 * row, 100 * width, 100) for column, row, width in places]
    assert len(boxes) == len(buttons)
    assert all(box.collidelist(boxes[:i]) == -1 for i, box in enumerate(boxes))


def test_the_red_light_is_on_exactly_while_recording():
    for seconds in (41.0, None):
        surface = pygame.Surface((960, 480))
        hud().draw(surface, PICTURE, readings(recording_s=seconds))
        is_red = (pygame.surfarray.array3d(surface) == RED[:3]).all(-1).any()
        assert is_red == (seconds is not None)


def test_a_message_is_shown_for_a_while_even_without_meters(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("worldmodel.ui.hud.time.perf_counter", lambda: now[0])
    meters = hud("off")
    meters.toast("recorded")
    assert drawn(meters).any()
    now[0] += 60
    assert not drawn(meters).any()


@pytest.mark.parametrize("size", [(64, 48), (200, 150), (3840, 2160)])
def test_any_window_size_can_be_drawn_on(size):
    meters = hud("full")
    meters.toast("a message that is longer than the window is wide")
    surface = pygame.Surface(size)
    for meters.is_table_shown in (False, True):
        meters.draw(surface, surface.get_rect(), readings(is_paused=True, hint="P go on"))


@pytest.mark.parametrize("size", [(320, 240), (480, 800), (640, 480), (1920, 1080)])
def test_the_red_light_and_the_meters_keep_apart(size, monkeypatch):
    """In small windows the light covered the end of the line."""
    places = []
    monkeypatch.setattr(
        "worldmodel.ui.hud.plate", lambda *args, **how: (places.append(plate(*args, **how)), places[-1])[1]
    )
    hud().draw(pygame.Surface(size), pygame.Rect((0, 0), size), readings(control="human, turn by turn"))
    assert len(places) == 2
    assert not places[0].colliderect(places[1])


@given(st.text("ab ", max_size=80), st.integers(40, 200))
@settings(max_examples=50, derandomize=True, deadline=None)
def test_a_text_keeps_to_its_width(text, width):
    assert fitted(text, 20, INK, width).get_width() <= width
    lines = wrapped(text, 12, width)
    assert " ".join(lines).split() == text.split()
    assert all(lettering(line, 12, INK).get_width() <= width for line in lines if " " in line)


def test_a_long_message_is_read_in_lines_inside_the_window():
    """It was cut off at both ends."""
    surface, meters = pygame.Surface((320, 240)), hud("off")
    meters.toast("no space is left on this disk " * 4)
    meters.draw_toast(surface, (160, 240))
    marks = np.nonzero((pygame.surfarray.array3d(surface) > 200).all(-1))
    assert 4 < marks[0].min() < marks[0].max() < 316
    assert np.ptp(marks[1]) > 12  # two lines


def test_the_key_table_names_every_button_and_command():
    play, window = hud()._table
    names = [name.replace("_", " ") for name in SPACE.buttons]
    assert [meaning for _, meaning in play] == [*names, "look (click first)"]
    assert {key for row, _ in window for key in row.split(", ") if key} >= {"F5", "Ctrl+F8", "Backspace", "Ctrl+Q"}
    without_keys = {Command.DROP, Command.HOLD, Command.RESUME, Command.STOP_REWIND, Command.CHOOSE, Command.GO}
    without_keys |= {Command.TAKE_OVER}
    assert [meaning for _, meaning in window] == [c.value for c in dict.fromkeys(command for _, command in KEYS)]
    assert {command for _, command in KEYS} == set(Command) - without_keys


def test_while_time_runs_backwards_the_hud_says_how_far_and_how_well():
    marks = [drawn(hud("off"), rewound_s=1.2, is_exact=exact) for exact in (True, False)]
    assert all(m.any() for m in marks)
    assert (marks[0] != marks[1]).any()


def test_the_curve_of_divergence_rises_with_the_likeness():
    assert not drawn(hud("off"), divergence=None).any()
    surfaces = []
    for value in (12.0, 38.0):
        surface = pygame.Surface((960, 480))
        hud("off").draw(surface, PICTURE, readings(divergence=[value] * 9))
        lit = (pygame.surfarray.array3d(surface).swapaxes(0, 1) == LIT[:3]).all(-1)
        surfaces.append(np.nonzero(lit)[0].mean())
    assert surfaces[0] > surfaces[1] + 10


def test_an_unknown_level_is_refused():
    with pytest.raises(ValueError, match="hud must be one of"):
        hud("loud")


def test_stats_measure_rates_without_pauses_and_percentiles_without_gaps():
    stats = Stats()
    for i, end in enumerate([1.0, 1.1, 1.2, 9.2, 9.3]):
        if i == 3:
            stats.interrupt()
        stats.add(None if i else end - 0.05, end - 0.03, end - 0.02, end)
    stats.shown(0, 1.01)
    assert stats.fps() == pytest.approx(10.0)
    assert stats.ms(START, END, 99) == pytest.approx(20.0)
    assert stats.ms(INPUT, FLIP) == pytest.approx(60.0)
    assert np.isnan(Stats().ms(START, END))


def test_stats_keep_the_newest_frames_only():
    stats = Stats()
    for i in range(KEPT_FRAMES + 10):
        stats.add(None, i, i, i)
    assert len(stats.times()) == KEPT_FRAMES
    assert stats.times(last=3)[:, END].tolist() == [KEPT_FRAMES + 7, KEPT_FRAMES + 8, KEPT_FRAMES + 9]


def test_sparklines_and_facts_stand_in_full_only():
    spans = {"model": (38.0, 45.0, [30.0, 38.0, 45.0]), "settle": (float("nan"), float("nan"), [])}
    for level, is_more in (("min", False), ("full", True)):
        plain, more = drawn(hud(level), spans={}), drawn(hud(level), spans=spans)
        assert (plain != more).any() == is_more
    assert (drawn(hud("full"), facts=[]) != drawn(hud("full"), facts=["cpu, float32", "memory 300 MiB"])).any()


def test_drift_is_told_in_words_and_colour_where_it_is_known():
    texts = [_drift_line(drift, 14) for drift in (0.9, 1.8, 5.0)]
    assert [text for text, _, _ in texts] == [
        "drift 0.9: usual",
        "drift 1.8: odd",
        "drift 5.0: far from what it learnt",
    ]
    assert len({color for _, color, _ in texts}) == 3
    assert (drawn(hud("full"), drift=None) != drawn(hud("full"), drift=0.9)).any()


def test_what_is_done_behind_play_is_told_at_every_level():
    assert not drawn(hud("off")).any()
    assert drawn(hud("off"), status="compiling, 12 s").any()


def test_meters_read_what_a_world_tells_about_itself():
    class Told(FakeEnv):
        status = "compiling, 3 s"

        def gauges(self):
            return {"window": "12 of 16 frames"}

    env = Told()
    runner = Runner(env, Latch(env.actions, {}, Feel(), 10.0), "uncapped", 0, 0, 1)
    runner._reset()
    for _ in range(5):
        runner.control.script = lambda step: Action()
        runner._step()
    meters = Meters(runner, SimpleNamespace(drift=lambda frame: 1.5))
    seen = meters.read(runner.mailbox.last, "", "full")
    assert (seen.status, seen.drift) == ("compiling, 3 s", 1.5)
    assert seen.facts[0] == "fake, fake"
    assert seen.facts[-1] == "window 12 of 16 frames"
    assert len(seen.spans["model"][2]) == 5
    assert Meters(runner, None).read(runner.mailbox.last, "", "full").drift is None


@pytest.mark.parametrize("decode_s", [0.004, None])
def test_decoding_is_measured_within_the_step_or_said_to_be_one_with_the_model(decode_s):
    env = FakeEnv(lambda t: time.sleep(0.006))
    env.decode_s = decode_s
    runner = Runner(env, Latch(env.actions, {}, Feel(), 10.0), "uncapped", 0, 0, 1)
    runner._reset()
    for _ in range(3):
        runner.control.script = lambda step: Action()
        runner._step()
    seen = Meters(runner, None).read(runner.mailbox.last, "", "full")
    assert ("decode: with model" in seen.facts) == (decode_s is None)
    assert seen.spans["decode"][2] == pytest.approx([] if decode_s is None else [4.0] * 3)
    assert seen.spans["model"][0] >= 6


def test_the_key_table_has_the_parts_of_a_gamepad_while_one_is_plugged_in():
    meters = hud("off")
    meters.is_table_shown = True
    surfaces = [pygame.Surface((960, 480)) for _ in range(2)]
    for meters.has_pad, surface in zip((False, True), surfaces, strict=True):
        meters.draw(surface, PICTURE, readings())
    assert (pygame.surfarray.array3d(surfaces[0]) != pygame.surfarray.array3d(surfaces[1])).any()
    assert ("RT", "attack") in meters._pad_rows
