import os

import numpy as np
import pygame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldmodel.action import Action, ActionSpace
from worldmodel.ui.bindings import default_bindings
from worldmodel.ui.events import pump
from worldmodel.ui.keymap import Command
from worldmodel.ui.latch import Feel, Latch
from worldmodel.ui.window import Window, WindowError, has_display, letterbox

SIZE_HW = (6, 8)
FRAME = np.random.default_rng(0).integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)


@pytest.fixture
def window(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    opened = Window("test", SIZE_HW, allow_headless=True)
    pygame.event.clear()
    yield opened
    opened.close()


def latch(mouse: float = 20.0) -> Latch:
    space = ActionSpace(("forward", "attack"), (mouse, 0.0))
    return Latch(space, default_bindings(space.buttons), Feel(degrees_per_pixel=0.5), 10.0)


def post(kind: int, **fields) -> None:
    pygame.event.post(pygame.event.Event(kind, **fields))


def key(kind: int, scancode: int, code: int = 0, mod: int = 0) -> None:
    post(kind, scancode=scancode, key=code, mod=mod)


def pixels(surface: pygame.Surface) -> np.ndarray:
    return pygame.surfarray.array3d(surface).swapaxes(0, 1)


sizes = st.tuples(st.integers(1, 300), st.integers(1, 300))


@settings(derandomize=True, deadline=None)
@given(sizes, st.tuples(st.integers(1, 3000), st.integers(1, 3000)), st.sampled_from(["int", "fit"]))
def test_letterbox_is_inside_centred_and_in_proportion(size_hw, window_wh, scale):
    place = letterbox(size_hw, window_wh, scale)
    assert pygame.Rect((0, 0), window_wh).contains(place)
    assert abs(place.centerx - window_wh[0] // 2) <= 1
    assert abs(place.centery - window_wh[1] // 2) <= 1
    skew = place.width * size_hw[0] - place.height * size_hw[1]
    assert abs(skew) <= sum(size_hw) / 2 or 1 in place.size  # half a pixel a side, from rounding


def test_letterbox_takes_whole_multiples_where_one_fits():
    assert letterbox((96, 128), (1920, 1080), "int").size == (1408, 1056)
    assert letterbox((96, 128), (1920, 1080), "fit").size == (1440, 1080)
    assert letterbox((96, 128), (100, 100), "int").size == (100, 75)


def test_a_frame_is_drawn_pixel_by_pixel_between_black_bars(window):
    pygame.display.set_mode((100, 60), pygame.RESIZABLE)
    place = window.draw(FRAME)
    assert place == pygame.Rect(10, 0, 80, 60)
    seen = pixels(window.surface)
    np.testing.assert_array_equal(seen[:, 10:90], FRAME.repeat(10, axis=0).repeat(10, axis=1))
    assert not seen[:, :10].any()
    assert not seen[:, 90:].any()


def test_a_linear_filter_mixes_neighbours(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    window = Window("test", SIZE_HW, "fit", "linear", allow_headless=True)
    window.draw(FRAME)
    assert len(np.unique(pixels(window.surface).reshape(-1, 3), axis=0)) > FRAME.size
    window.close()


def test_a_window_nobody_sees_opens_only_if_asked_to(monkeypatch):
    """SDL "opens" windows on its dummy and offscreen drivers without an error."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    assert not has_display()
    with pytest.raises(WindowError, match="headless=true"):
        Window("test", SIZE_HW)
    pygame.display.quit()


def test_without_a_display_there_is_none(monkeypatch, capfd):
    for name in ("SDL_VIDEODRIVER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert not has_display()
    assert capfd.readouterr().err == ""


def test_keys_of_the_window_do_not_reach_the_world(window):
    keys = latch()
    key(pygame.KEYDOWN, pygame.KSCAN_F4)
    key(pygame.KEYDOWN, pygame.KSCAN_W)
    key(pygame.KEYDOWN, pygame.KSCAN_A, pygame.K_q, pygame.KMOD_LCTRL)
    post(pygame.QUIT)
    assert pump(window, keys) == [Command.RESET, Command.QUIT, Command.QUIT]
    assert keys.take() == Action({"forward"})


def test_the_first_click_captures_the_mouse_and_the_second_attacks(window):
    keys = latch()
    post(pygame.MOUSEMOTION, rel=(5, 0), pos=(0, 0), buttons=(0, 0, 0))
    post(pygame.MOUSEBUTTONDOWN, button=1, pos=(0, 0))
    post(pygame.MOUSEBUTTONUP, button=1, pos=(0, 0))
    assert pump(window, keys) == [Command.RESUME]
    assert window.is_captured
    assert keys.take() == Action()
    post(pygame.MOUSEMOTION, rel=(5, 0), pos=(0, 0), buttons=(0, 0, 0))
    post(pygame.MOUSEBUTTONDOWN, button=1, pos=(0, 0))
    pump(window, keys)
    assert keys.take() == Action({"attack"}, (2.5, 0.0))


def test_a_world_without_a_mouse_axis_never_captures(window):
    keys = latch(mouse=0.0)
    post(pygame.MOUSEBUTTONDOWN, button=1, pos=(0, 0))
    assert pump(window, keys) == []
    assert not window.is_captured
    assert keys.take() == Action({"attack"})


def test_a_picture_is_chosen_by_click_or_number_and_nothing_reaches_the_world(window):
    keys = latch()
    window.focus.places = [pygame.Rect(0, 0, 10, 10), pygame.Rect(20, 0, 10, 10)]
    post(pygame.MOUSEBUTTONDOWN, button=1, pos=(25, 5))
    assert (pump(window, keys), window.focus.number) == ([Command.CHOOSE], 1)
    key(pygame.KEYDOWN, pygame.KSCAN_1)
    assert (pump(window, keys), window.focus.number) == ([Command.CHOOSE], 0)
    key(pygame.KEYDOWN, pygame.KSCAN_3)  # there is no third
    assert pump(window, keys) == []
    assert not window.is_captured
    assert keys.take() == Action()


def test_letting_backspace_go_ends_the_rewind(window):
    key(pygame.KEYDOWN, pygame.KSCAN_BACKSPACE)
    key(pygame.KEYUP, pygame.KSCAN_BACKSPACE)
    assert pump(window, latch()) == [Command.REWIND, Command.STOP_REWIND]


def test_losing_the_focus_releases_keys_and_mouse_and_asks_for_a_pause(window):
    keys = latch()
    window.capture()
    key(pygame.KEYDOWN, pygame.KSCAN_W)
    post(pygame.WINDOWFOCUSLOST)
    assert pump(window, keys) == [Command.HOLD]
    assert not window.is_captured
    assert not pygame.mouse.get_relative_mode()
    assert keys.take() == Action()
    post(pygame.WINDOWFOCUSGAINED)  # no key is really down
    pump(window, keys)
    assert keys.take() == Action()


def test_after_focus_returns_the_keys_really_down_count(window, monkeypatch):
    keys = latch()
    monkeypatch.setattr("worldmodel.ui.events.grasp", lambda: [pygame.KSCAN_W])
    post(pygame.WINDOWFOCUSGAINED)
    pump(window, keys)
    assert [keys.take(), keys.take()] == [Action({"forward"})] * 2


def test_a_storm_of_events_loses_no_motion_and_ends_with_the_last_size(window):
    keys = Latch(ActionSpace(("forward",), (1e6, 0.0)), {pygame.KSCAN_W: "forward"}, Feel(degrees_per_pixel=1.0), 10.0)
    window.capture()
    for i in range(60_000):
        post(pygame.MOUSEMOTION, rel=(1, 0), pos=(i % 7, 0), buttons=(0, 0, 0))
    for width in range(50, 350):
        pygame.display.set_mode((width, 200), pygame.RESIZABLE)
        window.draw(FRAME)
    key(pygame.KEYDOWN, pygame.KSCAN_W)
    pump(window, keys)
    assert keys.take() == Action({"forward"}, (60_000, 0.0))
    assert window.draw(FRAME) == letterbox(SIZE_HW, (349, 200))


def test_full_screen_and_back(window):
    before = window.surface.get_size()
    window.toggle_fullscreen()
    window.draw(FRAME)
    window.toggle_fullscreen()
    window.draw(FRAME)
    assert window.surface.get_size() == before


def test_a_window_asks_windows_for_real_pixels(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.delenv("SDL_WINDOWS_DPI_AWARENESS", raising=False)
    Window("sharp", SIZE_HW, allow_headless=True).close()
    assert os.environ["SDL_WINDOWS_DPI_AWARENESS"] == "permonitorv2"


def test_closing_twice_is_allowed(window):
    window.close()
    window.close()


@pytest.mark.parametrize("bad", [{"scale": "zoom"}, {"filter": "sharp"}])
def test_unknown_scale_or_filter_is_refused(bad):
    with pytest.raises(ValueError, match="must be one of"):
        Window("test", SIZE_HW, allow_headless=True, **bad)
