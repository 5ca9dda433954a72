"""The mouse is free after every way out, and no storm of sizes breaks the window."""

import contextlib

import pygame
import pytest
from test_session import FakeEnv, window  # noqa: F401

from worldmodel.ui.session import Session


def by_event(kind, **fields):
    return lambda session: pygame.event.post(pygame.event.Event(kind, **fields))


def fail(*args):
    raise KeyboardInterrupt


CTRL_Q = {"scancode": pygame.KSCAN_Q, "key": pygame.K_q, "mod": pygame.KMOD_LCTRL}
EXITS = {
    "the window is closed": by_event(pygame.QUIT),
    "Ctrl+Q": by_event(pygame.KEYDOWN, **CTRL_Q),
    "the menu's quit": lambda session: session._quit(),
    "another world": lambda session: session.leave_for(world="b"),
    "an error in the window": lambda session: setattr(session.hud, "draw", fail),
    "the last frame": lambda session: session.runner.stop(),
}
STAYS = {
    "Esc": by_event(pygame.KEYDOWN, scancode=pygame.KSCAN_ESCAPE, key=0, mod=0),
    "the menu button of a pad": by_event(
        pygame.CONTROLLERBUTTONDOWN, instance_id=0, button=pygame.CONTROLLER_BUTTON_START
    ),
    "focus loss": by_event(pygame.WINDOWFOCUSLOST),
    "minimised": by_event(pygame.WINDOWMINIMIZED),
}


def free(window):  # noqa: F811
    return not (window.is_captured or pygame.mouse.get_relative_mode() or pygame.event.get_grab())


@pytest.mark.parametrize("way", EXITS)
def test_the_mouse_is_free_after_every_way_out(window, way):  # noqa: F811
    session = Session(FakeEnv(), window, pace="uncapped")
    session.runner.env.on_step = lambda t: t == 2 and (window.capture(), EXITS[way](session))
    with pytest.raises(KeyboardInterrupt) if "error" in way else contextlib.nullcontext():
        session.run()
    assert free(window)


@pytest.mark.parametrize("way", STAYS)
def test_the_mouse_is_free_while_the_player_is_elsewhere(window, way):  # noqa: F811
    session = Session(FakeEnv(), window)
    session.runner._reset()
    window.capture()
    STAYS[way](session)
    session._turn(listens=True)
    assert free(window)


def test_a_storm_of_sizes_is_drawn_at_each_and_ends_with_the_last(window):  # noqa: F811
    session = Session(FakeEnv(), window, hud="full", pace="uncapped")
    session.runner._reset()
    for width in [*range(30, 900, 37), 1, 333]:
        pygame.display.set_mode((width, max(1, 600 - width // 2)), pygame.RESIZABLE)
        session.beat.drawn_at = 0.0
        session._turn(listens=True)
    assert window.surface.get_size() == (333, 434)
