"""The window keeps up with its display, draws nothing twice, and never waits for the model."""

import threading
from itertools import pairwise
from types import SimpleNamespace

import pygame
import pytest
from test_menu import window  # noqa: F401
from test_session import FakeEnv, idle

from worldmodel.ui import beat as beat_module
from worldmodel.ui.beat import NEWS_S, REDRAWS, Beat
from worldmodel.ui.session import Session


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(beat_module.time, "perf_counter", lambda: now[0])
    return now


def pictures(clock, redraw, seconds, hz=50.0, sight=lambda t: 0, cost_s=0.001, touched=()):
    """When a window that is looked at every ms was drawn, in ms from the first picture on."""
    screen = SimpleNamespace(refresh_hz=hz, is_touched=False)
    ours, begun, drawn = Beat(screen, redraw), clock[0], []
    while clock[0] < begun + seconds:
        t = round(1000 * (clock[0] - begun))
        screen.is_touched |= t in touched
        if ours.is_due(sight(t)):
            drawn.append(t)
            seen, at, clock[0] = sight(t), clock[0], clock[0] + cost_s
            ours.drawn(at, seen)
        else:
            clock[0] += 0.001
    return drawn


def test_always_draws_every_picture_of_the_display(clock):
    assert pictures(clock, "always", 0.2) == list(range(0, 200, 20))
    assert len(pictures(clock, "always", 1.0, hz=100.0)) == 100


def test_what_changes_is_drawn_with_the_displays_next_picture_and_nothing_twice(clock):
    drawn = pictures(clock, "display", 0.2, sight=lambda t: t >= 67)
    assert drawn == [0, 50, 70, 120, 170]  # 50 ms apart for the meters


def test_on_news_a_change_waits_for_the_meters_but_the_player_does_not(clock):
    assert pictures(clock, "news", 0.2, sight=lambda t: t >= 67) == [0, 50, 100, 150]
    assert pictures(clock, "news", 0.2, touched=(61,)) == [0, 50, 70, 120, 170]


def test_what_the_player_does_is_on_the_displays_next_picture(clock):
    assert pictures(clock, "display", 0.1, touched=(3, 33)) == [0, 20, 40, 90]


def test_the_model_gets_its_rest_where_drawing_takes_longer_than_the_display(clock):
    drawn = pictures(clock, "always", 1.0, hz=200.0, cost_s=0.03)
    assert len(drawn) == pytest.approx(1 / 0.034, abs=1)


def test_a_display_that_does_not_say_its_rate_has_the_usual_one(window, monkeypatch):  # noqa: F811
    for said, hz in ((144, 144.0), (0, 60.0)):
        monkeypatch.setattr(pygame.display, "get_current_refresh_rate", lambda said=said: said)
        assert window.refresh_hz == hz


@pytest.mark.parametrize("redraw", REDRAWS)
def test_the_window_is_drawn_while_a_step_lasts_and_how_often_is_chosen(window, redraw):  # noqa: F811
    """The step waits for the flips of a window that would never come if the window waited for the model."""
    flips, enough, flip = [], threading.Event(), window.flip
    window.flip = lambda: (flips.append(0), flip(), len(flips) < 4 or enough.set())
    waited = []
    Session(FakeEnv(on_step=lambda t: waited.append(enough.wait(20))), window, redraw=redraw).run(1, idle)
    assert waited == [True]


def test_a_change_by_the_models_thread_is_seen(window):  # noqa: F811
    session = Session(FakeEnv(), window, redraw="display")
    session.runner._reset()
    before = session._sight()
    assert session._sight() == before
    for change in (
        lambda: setattr(session.runner, "is_paused", True),
        lambda: setattr(session.runner, "rewound", 3),
        lambda: setattr(session.runner, "fan", [None]),
        lambda: session.hud.toast("saved"),
        lambda: setattr(session.hud, "_toast_until", 0.0),
        lambda: pygame.display.set_mode((300, 200), pygame.RESIZABLE),
    ):
        before = session._sight()
        change()
        assert session._sight() != before


def test_the_meters_are_never_older_than_on_news(clock):
    for redraw in REDRAWS:
        drawn = pictures(clock, redraw, 1.0, hz=60.0)
        assert max(b - a for a, b in pairwise(drawn)) <= 1000 * NEWS_S + 1
