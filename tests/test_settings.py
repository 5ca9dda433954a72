"""What is set in the menu is found again; a wrong file is one line that names it."""

import json

import pygame
import pytest
from test_menu import choose, hit, table, window  # noqa: F401

from worldmodel.ui.latch import Feel
from worldmodel.ui.settings import KEPT, SettingsError, keep_settings, load_settings

LEFT, RIGHT = pygame.KSCAN_LEFT, pygame.KSCAN_RIGHT


def test_without_a_file_nothing_is_set(tmp_path):
    assert load_settings(tmp_path / "settings.json") == {"sizes": {}}


def test_settings_are_found_again_and_others_stay(tmp_path):
    path = tmp_path / "settings.json"
    keep_settings(path, {"dead_zone": 0.25, "sizes": {"a": [640, 480]}})
    keep_settings(path, {"toggle": True, "sizes": {"b": [800, 600]}})
    assert load_settings(path) == {"dead_zone": 0.25, "toggle": True, "sizes": {"a": [640, 480], "b": [800, 600]}}
    assert [p.name for p in tmp_path.iterdir()] == ["settings.json"]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"fly": 1}', '{"toggle": 1}', '{"dead_zone": true}', '{"hud": 3}', '{"sizes": {"a": [1]}}',
     '{"sizes": {"a": [0, 5]}}', '{"sizes": 3}', "\xff"],
)  # fmt: skip
def test_a_wrong_file_is_named_in_one_line(tmp_path, text):
    (tmp_path / "settings.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingsError, match=r"settings\.json.*delete it") as caught:
        load_settings(tmp_path / "settings.json")
    assert "\n" not in str(caught.value)


def test_left_and_right_change_how_it_feels_at_once_and_for_good(window, tmp_path):  # noqa: F811
    session = table(window, tmp_path)
    session.library = type(session.library)(settings=tmp_path / "settings.json")
    for label, key in (("mouse", RIGHT), ("stick", LEFT), ("dead zone of the sticks", RIGHT), ("up is down", RIGHT)):
        choose(session, "Controls")
        labels = [item.label for item in session.menu.items]
        hit(session.menu, *[pygame.KSCAN_DOWN] * labels.index(label), key)
    assert session.latch.feel == Feel(degrees_per_pixel=0.2, stick_degrees=160.0, dead_zone=0.2, invert_y=True)
    kept = json.loads((tmp_path / "settings.json").read_text())
    assert kept == {"degrees_per_pixel": 0.2, "stick_degrees": 160.0, "dead_zone": 0.2, "invert_y": True, "sizes": {}}
    assert set(kept) - {"sizes"} <= KEPT.keys()


def test_the_display_is_changed_and_kept(window, tmp_path):  # noqa: F811
    session = table(window, tmp_path)
    session.library = type(session.library)(settings=tmp_path / "settings.json")
    choose(session, "Display", "scale")
    choose(session, "Display", "meters")
    assert (window.scale, session.hud.level) == ("fit", "full")
    assert load_settings(tmp_path / "settings.json") == {"scale": "fit", "hud": "full", "sizes": {}}


def test_one_hand_is_a_preset_that_is_kept(window, tmp_path):  # noqa: F811
    session = table(window, tmp_path)
    choose(session, "Controls", "keys for left hand")
    assert json.loads((tmp_path / "keys.json").read_text())["turn_left"] == ["A", "Pad look left"]
    session.latch.press(pygame.KSCAN_A)
    assert session.latch.take().buttons == {"turn_left"}
    choose(session, "Controls", "keys for both hands")
    session.latch.press(pygame.KSCAN_LEFT)
    assert session.latch.take().buttons == {"turn_left"}


def test_a_file_that_cannot_be_written_is_told(window, tmp_path):  # noqa: F811
    session = table(window, tmp_path)
    (tmp_path / "file").write_text("")
    session.library = type(session.library)(settings=tmp_path / "file" / "settings.json")
    choose(session, "Display", "scale")
    assert session.hud._toast.startswith("not kept")


@pytest.mark.parametrize("feel", [{"dead_zone": 1.0}, {"degrees_per_pixel": 0}, {"stick_degrees": float("nan")}])
def test_an_absurd_feel_is_refused(feel):
    with pytest.raises(ValueError, match=next(iter(feel))):
        Feel(**feel)
