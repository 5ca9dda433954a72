"""Gamepads, in the layout that SDL gives all of them: sticks, triggers and buttons as codes, menu keys and commands.

Gamepads   those that are plugged in; their events in, presses and commands out

The left stick and the cross are buttons of the world; the right stick looks. A pad that SDL knows no layout for is not
used. Not here: which part presses what (keymap.py), how far a stick turns the view (latch.py).
"""

from __future__ import annotations

import time
from typing import Any

import pygame
from pygame._sdl2 import controller

from worldmodel.ui.focus import Focus
from worldmodel.ui.keymap import PAD_A, PADS, Command
from worldmodel.ui.latch import Latch
from worldmodel.ui.menu import Overlay

EVENTS = [
    pygame.CONTROLLERAXISMOTION,
    pygame.CONTROLLERBUTTONDOWN,
    pygame.CONTROLLERBUTTONUP,
    pygame.CONTROLLERDEVICEADDED,
    pygame.CONTROLLERDEVICEREMOVED,
]
# SDL makes the events above out of these: where they are blocked, no pad is ever heard.
SOURCES = [
    pygame.JOYAXISMOTION,
    pygame.JOYHATMOTION,
    pygame.JOYBUTTONDOWN,
    pygame.JOYBUTTONUP,
    pygame.JOYDEVICEADDED,
    pygame.JOYDEVICEREMOVED,
]
CODES = {name: PAD_A - i for i, name in enumerate(PADS)}
BUTTONS = {
    pygame.CONTROLLER_BUTTON_A: "A",
    pygame.CONTROLLER_BUTTON_B: "B",
    pygame.CONTROLLER_BUTTON_X: "X",
    pygame.CONTROLLER_BUTTON_Y: "Y",
    pygame.CONTROLLER_BUTTON_RIGHTSHOULDER: "RB",
    pygame.CONTROLLER_BUTTON_LEFTSTICK: "L3",
    pygame.CONTROLLER_BUTTON_RIGHTSTICK: "R3",
    pygame.CONTROLLER_BUTTON_DPAD_UP: "up",
    pygame.CONTROLLER_BUTTON_DPAD_DOWN: "down",
    pygame.CONTROLLER_BUTTON_DPAD_LEFT: "left",
    pygame.CONTROLLER_BUTTON_DPAD_RIGHT: "right",
}
TRIGGERS = {pygame.CONTROLLER_AXIS_TRIGGERLEFT: "LT", pygame.CONTROLLER_AXIS_TRIGGERRIGHT: "RT"}
STICKS = {
    "stick": (pygame.CONTROLLER_AXIS_LEFTX, pygame.CONTROLLER_AXIS_LEFTY),
    "look": (pygame.CONTROLLER_AXIS_RIGHTX, pygame.CONTROLLER_AXIS_RIGHTY),
}
MENU_KEYS = {
    "A": pygame.KSCAN_RETURN,
    "B": pygame.KSCAN_ESCAPE,
    "RT": pygame.KSCAN_EQUALS,  # of a picture's box
    "LT": pygame.KSCAN_MINUS,
    **dict.fromkeys(("up", "stick up"), pygame.KSCAN_UP),
    **dict.fromkeys(("down", "stick down"), pygame.KSCAN_DOWN),
    **dict.fromkeys(("left", "stick left"), pygame.KSCAN_LEFT),
    **dict.fromkeys(("right", "stick right"), pygame.KSCAN_RIGHT),
}
PICTURE_COMMANDS = {"B": Command.RESUME, "Y": Command.WHAT_IF}  # while there are pictures to choose from
LEAST_TILT = 0.35  # of a stick that stands for buttons: a resting thumb does not walk
DIAGONAL = 0.38  # sine of 22.5 degrees: eight directions of equal width
PULLED, LET_GO = 0.3, 0.2  # share of a trigger's way; two limits, so that it cannot flutter
RESET_S = 0.5  # Back is held so long for a reset


class Gamepads:
    """The pads that are plugged in; all of them play the same player. news: lines for the player."""

    def __init__(self) -> None:
        controller.init()
        self.news: list[str] = []
        self._open: dict[int, Any] = {}  # instance -> Controller, which must be kept to get its events
        self._axes: dict[int, float] = {}
        self._pressed: set[str] = set()  # parts of PADS
        self._back_since: float | None = None
        for number in range(controller.get_count()):  # of those known to the window before, SDL tells nothing
            if controller.is_controller(number):
                self._plug(number)

    @property
    def is_there(self) -> bool:
        """True if a pad is plugged in."""
        return bool(self._open)

    def forget(self) -> None:
        """Nothing is held any more (the window lost the focus); what still is says so at its next motion."""
        self._axes.clear()
        self._pressed.clear()

    def handle(self, event: pygame.Event, latch: Latch, menu: Overlay | None, focus: Focus) -> list[Command]:
        """One of EVENTS: to the menu if it is open, else to the pictures if any are shown, else into the latch; gives
        the commands it asks for.
        """
        if event.type == pygame.CONTROLLERDEVICEADDED:
            self._plug(event.device_index)
        elif event.type == pygame.CONTROLLERDEVICEREMOVED and self._open.pop(event.instance_id, None):
            self.forget()
            latch.release_all()
            self.news.append("gamepad unplugged")
            return [Command.HOLD]
        elif event.type == pygame.CONTROLLERAXISMOTION:
            self._axes[event.axis] = max(-1.0, min(1.0, event.value / 32767))
            if not (menu and menu.is_open):
                latch.tilt(*self._stick("look"))
            return self._set(self._tilted(latch), latch, menu, focus)
        elif event.type in (pygame.CONTROLLERBUTTONDOWN, pygame.CONTROLLERBUTTONUP):
            return self._button(event.button, latch, menu, focus, is_down=event.type == pygame.CONTROLLERBUTTONDOWN)
        return []

    def _plug(self, number: int) -> None:
        try:
            pad = controller.Controller(number)
        except pygame.error as error:
            self.news.append(f"gamepad not used: {error}")
            return
        instance = pad.as_joystick().get_instance_id()
        if instance not in self._open:
            self.news.append(f"gamepad: {pad.name}")
        self._open[instance] = pad

    def _button(self, button: int, latch: Latch, menu: Overlay | None, focus: Focus, *, is_down: bool) -> list[Command]:
        is_menu = menu is not None and menu.is_open
        if button in BUTTONS:
            name = BUTTONS[button]
            return self._set(self._pressed | {name} if is_down else self._pressed - {name}, latch, menu, focus)
        elif button == pygame.CONTROLLER_BUTTON_START and is_down:
            if menu is None or not menu.is_open:
                return [Command.ESCAPE]
            menu.close()
        elif button == pygame.CONTROLLER_BUTTON_LEFTSHOULDER and not is_menu:
            return [Command.REWIND if is_down else Command.STOP_REWIND]
        elif button == pygame.CONTROLLER_BUTTON_BACK:
            now, since = time.perf_counter(), self._back_since
            self._back_since = now if is_down else None
            if not is_down and not is_menu and since is not None and now - since >= RESET_S:
                return [Command.RESET]
        return []

    def _set(self, pressed: set[str], latch: Latch, menu: Overlay | None, focus: Focus) -> list[Command]:
        """These parts are down now; what has changed goes to the menu, to the pictures or into the latch."""
        commands: list[Command] = []
        down, up, self._pressed = pressed - self._pressed, self._pressed - pressed, pressed
        for name in sorted(up):
            latch.release(CODES[name])  # also while the menu is open: what was held before is let go
        for name in sorted(down):
            if not (menu and menu.is_open):
                if focus.is_shown and name in PICTURE_COMMANDS:
                    commands.append(PICTURE_COMMANDS[name])
                elif (is_taken := focus.press(MENU_KEYS.get(name, 0))) is not None:
                    commands += [Command.CHOOSE] * is_taken
                else:
                    latch.press(CODES[name])
            elif menu.awaits:
                menu.press(CODES[name])
            elif name in MENU_KEYS:
                menu.press(MENU_KEYS[name])
        return commands

    def _stick(self, name: str) -> tuple[float, float]:
        x, y = STICKS[name]
        return self._axes.get(x, 0.0), self._axes.get(y, 0.0)

    def _tilted(self, latch: Latch) -> set[str]:
        """The parts that are down, with those of sticks and triggers as the axes stand now."""
        pressed = {name for name in self._pressed if name in BUTTONS.values()}
        for axis, name in TRIGGERS.items():
            if self._axes.get(axis, 0.0) > (LET_GO if name in self._pressed else PULLED):
                pressed.add(name)
        for stick in STICKS:
            x, y = self._stick(stick)
            length = (x * x + y * y) ** 0.5
            if length < max(LEAST_TILT, latch.feel.dead_zone) or (stick == "look" and any(latch.space.mouse)):
                continue  # where there is a mouse to look with, the right stick is that and no button
            sides = (("right", x), ("left", -x), ("down", y), ("up", -y))
            pressed |= {f"{stick} {side}" for side, share in sides if share > DIAGONAL * length}
        return pressed
