"""Events of a window, sorted: play into the latch, the menu's to the menu, the rest as commands.

pump            all that wait
grasp           keys that are really down
wants_to_quit   all that wait, where there is no world yet

The keyboard is never grabbed. Not here: drawing, capture and release (window.py), gamepads (gamepad.py).
"""

from __future__ import annotations

import time

import pygame

from worldmodel.ui import gamepad
from worldmodel.ui.keymap import Command
from worldmodel.ui.latch import Latch
from worldmodel.ui.shortcuts import NUMBER_KEYS, command_of, stops_rewind
from worldmodel.ui.window import Window

MENU_EVENTS = (pygame.KEYDOWN, pygame.MOUSEBUTTONDOWN, pygame.MOUSEMOTION)


def pump(window: Window, latch: Latch) -> list[Command]:
    """Handle all waiting events: play goes to the latch, the rest comes back as commands, in order.

    The click that captures the mouse does nothing in the world; it asks for RESUME. Losing the focus releases
    everything, frees the mouse and asks for HOLD; keys that are really down when it returns are held again. A key
    that is let go counts also while the menu is open.
    """
    commands: list[Command] = []
    for event in pygame.event.get():
        window.is_touched |= not (window.is_captured and event.type == pygame.MOUSEMOTION)  # a turn shows in a frame
        if window.menu and window.menu.is_open and event.type in MENU_EVENTS and not _quits(window, event):
            window.menu.handle(event)
        elif (is_taken := _is_taken(window, event)) is not None:
            commands += [Command.CHOOSE] * is_taken
        elif event.type in gamepad.EVENTS:
            commands += window.pads.handle(event, latch, window.menu, window.focus)
        else:
            commands += _sort(window, latch, event)
    return commands


def _sort(window: Window, latch: Latch, event: pygame.Event) -> list[Command]:
    """One event of keyboard, mouse or window."""
    match event.type:
        case pygame.KEYDOWN:
            command = command_of(window.shortcuts, event.scancode, event.key, event.mod)
            if command:
                return [command]
            latch.press(event.scancode)
        case pygame.KEYUP:
            latch.release(event.scancode)
            if stops_rewind(window.shortcuts, event.scancode, event.key):
                return [Command.STOP_REWIND]
        case pygame.MOUSEMOTION if window.is_captured:
            latch.move(*event.rel)
        case pygame.MOUSEBUTTONDOWN:
            if any(latch.space.mouse) and not window.is_captured:
                window.capture()
                return [Command.RESUME]
            latch.press(-event.button)
        case pygame.MOUSEBUTTONUP:
            latch.release(-event.button)
        case pygame.WINDOWFOCUSLOST | pygame.WINDOWMINIMIZED:
            latch.release_all()
            window.pads.forget()
            if time.perf_counter() > window.settled_at:
                window.release()
                return [Command.HOLD]
        case pygame.WINDOWFOCUSGAINED:
            latch.hold_again(grasp())
        case pygame.DROPFILE:
            window.dropped.append(event.file)
            return [Command.DROP]
        case pygame.QUIT:
            return [Command.QUIT]
    return []


def _is_taken(window: Window, event: pygame.Event) -> bool | None:
    """For the pictures on screen: True if the event takes the one that focus then means, False if it only means
    another; None if it is not for them.
    """
    focus = window.focus
    if event.type == pygame.KEYDOWN and event.scancode in NUMBER_KEYS:
        return focus.choose(NUMBER_KEYS.index(event.scancode)) or None
    if event.type == pygame.KEYDOWN:
        return focus.press(event.scancode)
    if window.is_captured or event.type not in (pygame.MOUSEBUTTONDOWN, pygame.MOUSEMOTION):
        return None
    is_click = event.type == pygame.MOUSEBUTTONDOWN
    return is_click if focus.point(event.pos) and (not is_click or event.button == 1) else None


def wants_to_quit(window: Window) -> bool:
    """Drop all waiting events; True if one of them asked for the end."""
    return any(event.type == pygame.QUIT or _quits(window, event) for event in pygame.event.get())


def _quits(window: Window, event: pygame.Event) -> bool:
    if event.type != pygame.KEYDOWN:
        return False
    return command_of(window.shortcuts, event.scancode, event.key, event.mod) is Command.QUIT


def grasp() -> list[int]:
    """Scancodes of the keys that are physically down now."""
    pressed = pygame.key.get_pressed()  # indexed by key code; the tuple under it, by scancode
    return [code for code in range(len(pressed)) if tuple.__getitem__(pressed, code)]
