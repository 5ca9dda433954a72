"""The window's own keys: bound anew in the menu and in the file, swapped where they are taken, shown everywhere."""

import json

import pygame
import pytest
from test_gamepad import button
from test_menu import DOWN, ENTER, ESC, choose, hit, table, window  # noqa: F401
from test_play import command  # noqa: F401
from test_window import key, post

from worldmodel.action import ActionError
from worldmodel.ui.bindings import default_bindings
from worldmodel.ui.events import pump
from worldmodel.ui.keyfile import load_keys, load_shortcuts, save_keys
from worldmodel.ui.keymap import KEYS, Command, code_label, code_of
from worldmodel.ui.rebinding import Keys, given
from worldmodel.ui.shortcuts import NAMES, NO_KEY, USUAL, key_of, shortcut_rows

F5, F7, F8, F9, W = (getattr(pygame, f"KSCAN_{name}") for name in ("F5", "F7", "F8", "F9", "W"))


def pressed(session, scancode, code=0, mod=0):
    """What the window makes of a real key event during play."""
    session.menu.close()
    key(pygame.KEYDOWN, scancode, code, mod)
    return pump(session.window, session.latch)


def ask(session, command):  # noqa: F811
    """Open the menu at the line of a command of the window and press Enter."""
    choose(session, "Controls", command.value)
    assert session.menu.awaits


@pytest.mark.parametrize("command", NAMES.values())
def test_every_key_of_the_window_but_esc_is_bound_anew_in_the_menu_and_kept(window, tmp_path, command):  # noqa: F811
    session = table(window, tmp_path)
    ask(session, command)
    hit(session.menu, F7)
    assert pressed(session, F7) == [command]
    assert F7 in load_shortcuts(tmp_path / "keys.json")
    assert not any(pressed(session, code) == [command] for code in USUAL if code < 512)
    assert ("F7", command.value) in session.hud._table[1]


def test_a_key_in_use_is_named_and_the_same_once_more_swaps(window, tmp_path):  # noqa: F811
    session = table(window, tmp_path)
    ask(session, Command.SAVE)
    hit(session.menu, F9)
    assert session.menu.question.startswith("F9 is: load the slot.")
    assert (pressed(session, F5), pressed(session, F9)) == ([Command.SAVE], [Command.LOAD])
    ask(session, Command.SAVE)
    hit(session.menu, F9, F9)
    assert (pressed(session, F5), pressed(session, F9)) == ([Command.LOAD], [Command.SAVE])


def test_after_the_question_esc_leaves_all_and_another_key_is_another_try(window, tmp_path):  # noqa: F811
    session = table(window, tmp_path)
    ask(session, Command.SAVE)
    hit(session.menu, F9, ESC)
    assert window.shortcuts == USUAL
    ask(session, Command.SAVE)
    hit(session.menu, F9, F7)
    assert (pressed(session, F7), pressed(session, F9), pressed(session, F5)) == ([Command.SAVE], [Command.LOAD], [])


def test_a_key_of_the_world_and_one_of_the_window_change_places(window, tmp_path):  # noqa: F811
    session = table(window, tmp_path)
    choose(session, "Controls", "forward")
    hit(session.menu, F5, F5)
    assert pressed(session, W) == [Command.SAVE]
    assert session.latch.take().buttons == set()
    assert pressed(session, F5) == []
    assert session.latch.take().buttons == {"forward"}
    ask(session, Command.SAVE)
    hit(session.menu, F5, F5)
    assert session.menu.question.startswith("F5 is: forward")
    assert pressed(session, F5) == [Command.SAVE]
    assert (load_shortcuts(tmp_path / "keys.json"), "W" in load(tmp_path)["forward"]) == (USUAL, True)


def load(tmp_path):
    return json.loads((tmp_path / "keys.json").read_text())


def test_shift_and_ctrl_go_with_the_next_key_and_ctrl_letters_by_what_is_printed(window, tmp_path):  # noqa: F811
    session = table(window, tmp_path)
    ask(session, Command.RECORD)
    key(pygame.KEYDOWN, pygame.KSCAN_LCTRL, pygame.K_LCTRL, pygame.KMOD_LCTRL)
    key(pygame.KEYDOWN, pygame.KSCAN_A, pygame.K_q, pygame.KMOD_LCTRL)  # of a French keyboard: quits, also from here
    assert pump(window, session.latch) == [Command.QUIT]
    key(pygame.KEYDOWN, pygame.KSCAN_E, pygame.K_e, pygame.KMOD_LCTRL)
    assert pump(window, session.latch) == []
    assert load(tmp_path)["window"] == {"record": ["Ctrl+E"]}
    assert pressed(session, pygame.KSCAN_E, pygame.K_e, pygame.KMOD_RCTRL) == [Command.RECORD]
    assert pressed(session, pygame.KSCAN_E, pygame.K_e) == []
    assert pressed(session, F8, mod=pygame.KMOD_LCTRL) == [Command.KEEP_LAST]


def test_a_rewind_on_another_key_ends_when_that_goes_up(window, tmp_path):  # noqa: F811
    session = table(window, tmp_path)
    ask(session, Command.REWIND)
    hit(session.menu, pygame.KSCAN_R)
    assert pressed(session, pygame.KSCAN_R) == [Command.REWIND]
    key(pygame.KEYUP, pygame.KSCAN_R)
    assert pump(window, session.latch) == [Command.STOP_REWIND]
    key(pygame.KEYUP, pygame.KSCAN_BACKSPACE)
    assert pump(window, session.latch) == []


@pytest.mark.parametrize(
    ("code", "why"),
    [(300, "no name"), (pygame.KSCAN_UP, "chooses pictures"), (pygame.KSCAN_3, "chooses pictures"), (-1, "keyboard")],
)
def test_a_key_that_cannot_be_the_windows_is_told_why(window, tmp_path, code, why):  # noqa: F811
    session = table(window, tmp_path)
    ask(session, Command.PAUSE)
    session.menu.press(code)
    assert why in session.hud._toast
    assert window.shortcuts == USUAL


def test_a_swap_that_would_leave_the_window_without_a_possible_key_is_refused():
    keys = Keys(default_bindings(("turn_left", "forward")), USUAL)
    with pytest.raises(ActionError, match="load the slot cannot have Left instead"):
        given(Keys({pygame.KSCAN_LEFT: "turn_left"}, USUAL), "turn_left", F9)
    changed = given(keys, "forward", F9)
    assert (changed.bindings[F9], changed.shortcuts[W]) == ("forward", Command.LOAD)
    with pytest.raises(ActionError, match="Esc"):
        given(keys, "forward", pygame.KSCAN_ESCAPE)


def test_the_usual_keys_come_back_and_a_button_that_had_one_gets_another(window, tmp_path):  # noqa: F811
    session = table(window, tmp_path)
    choose(session, "Controls", "attack")
    hit(session.menu, F5, F5)
    choose(session, "Controls", "usual keys for the window")
    assert window.shortcuts == USUAL
    assert "window" not in load(tmp_path)
    post(pygame.MOUSEBUTTONDOWN, button=1, pos=(0, 0))
    window.capture()
    session.menu.close()
    pump(window, session.latch)
    assert session.latch.take().buttons == {"attack"}


def test_a_mouse_button_is_bound_in_the_menu(window, tmp_path):  # noqa: F811
    session = table(window, tmp_path)
    choose(session, "Controls", "forward")
    post(pygame.MOUSEBUTTONDOWN, button=4, pos=(0, 0))  # the wheel
    post(pygame.MOUSEBUTTONDOWN, button=3, pos=(0, 0))
    pump(window, session.latch)
    assert "Mouse right" in load(tmp_path)["forward"]


def test_a_gamepad_reaches_the_question_and_what_it_presses_is_no_key_of_the_window(window, tmp_path):  # noqa: F811
    session = table(window, tmp_path)
    ask(session, Command.SAVE)
    button("X", is_down=True)
    pump(window, session.latch)
    assert "only a key of the keyboard" in session.hud._toast
    assert session.menu.awaits is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"window": {"save": ["Hyper"]}}', "no key 'Hyper'"),
        ('{"window": {"sav": ["F7"]}}', "did you mean save"),
        ('{"window": {"save": ["F7"], "load": ["f7"]}}', "chosen for two commands"),
        ('{"window": {"save": ["Esc"]}}', "no key 'Esc'"),
        ('{"window": {"save": ["Pad A"]}}', "keyboard"),
        ('{"window": {"save": ["Ctrl+Shift"]}}', "cannot be bound"),
        ('{"window": {"save": "F7"}}', "a list"),
        ('{"window": ["F7"]}', "keys.json"),
    ],
)
def test_a_wrong_key_in_the_file_is_refused_in_one_line(command, tmp_path, text, why):  # noqa: F811
    (tmp_path / "keys.json").write_text(text)
    for arguments in (("headless=false", "frames=1"), ("--help",)):
        code, _, err = command(*arguments)
        assert code == 2
        assert len(err) == 1
        assert why in err[0]
        assert "delete it for the usual keys" in err[0]


def test_keys_of_the_window_in_the_file_are_no_ones_else(tmp_path):
    path = tmp_path / "keys.json"
    path.write_text('{"window": {"save": ["W"], "pause": []}, "honk": ["H", "F5"]}')
    shortcuts = load_shortcuts(path)
    assert shortcuts[W] is Command.SAVE
    assert dict(map(reversed, shortcut_rows(shortcuts)))["pause"] == NO_KEY
    bindings = default_bindings(("forward",), load_keys(path, ("forward",), shortcuts), shortcuts=shortcuts)
    assert [code_label(code) for code in bindings if code > 0] == ["Up"]
    with pytest.raises(ActionError, match="save to the slot"):
        default_bindings(("forward",), {"forward": ["W"]}, shortcuts=shortcuts)


def test_a_key_that_becomes_the_windows_is_taken_from_other_worlds_too(tmp_path):
    """The next world could not have been opened: its file would have named a key of the window."""
    path = tmp_path / "keys.json"
    path.write_text('{"honk": ["H"], "jump": ["H", "J"]}')
    save_keys(path, {W: "forward"}, {**USUAL, code_of("H"): Command.SAVE})
    shortcuts = load_shortcuts(path)
    assert load_keys(path, ("honk", "jump", "forward"), shortcuts) == {"jump": ["J"], "forward": ["W"]}


def test_help_shows_the_keys_of_the_file(command, tmp_path):  # noqa: F811
    (tmp_path / "own.json").write_text('{"window": {"record": ["Ctrl+E"]}, "forward": ["I"]}')
    code, out, _ = command("--help", "keys=own.json", "world=doom_garden")
    lines = [" ".join(line.split()) for line in out]
    assert code == 0
    assert "Ctrl+E record on, off" in lines
    assert "I forward" in lines


def test_hints_name_the_keys_that_are_bound(window, tmp_path):  # noqa: F811
    session = table(window, tmp_path)
    ask(session, Command.PAUSE)
    hit(session.menu, pygame.KSCAN_O)
    session.runner.is_paused = True
    assert session._hint(0.0).startswith("O go on")
    assert key_of(window.shortcuts, Command.PAUSE) == session.key(Command.PAUSE) == "O"


def test_every_command_with_a_key_has_a_line_in_the_menu(window, tmp_path):  # noqa: F811
    session = table(window, tmp_path)
    choose(session, "Controls")
    labels = [item.label for item in session.menu.items]
    mine = labels[labels.index("Window:") + 1 : -1]
    assert mine == [c.value for c in dict.fromkeys(c for _, c in KEYS) if c is not Command.ESCAPE]
