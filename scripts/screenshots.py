"""Pictures of the window for docs/, taken in a played session without a screen.

    python scripts/screenshots.py [WORLD] [real]     real: also the real game beside the dream (needs ViZDoom)

Keys are pressed as events, as a player would; nothing is drawn that the window does not draw.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path

os.environ["SDL_VIDEODRIVER"] = "dummy"
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import pygame

import worldmodel
from worldmodel.data.both import Both
from worldmodel.data.rerun import Rerun
from worldmodel.data.states import Slots
from worldmodel.env import Env
from worldmodel.tokenizer.eye import Eye
from worldmodel.ui.keymap import LABELS
from worldmodel.ui.pages import Library
from worldmodel.ui.session import Session
from worldmodel.ui.window import Window
from worldmodel.venue import open_real

DOCS = Path(__file__).parent.parent / "docs"
CODES = {label: code for code, label in LABELS.items()}
Story = Generator[None, None, None]


def press(label: str, *, holds: bool = False) -> None:
    """A key goes down, and up again unless it is held."""
    for kind in (pygame.KEYDOWN,) if holds else (pygame.KEYDOWN, pygame.KEYUP):
        pygame.event.post(pygame.event.Event(kind, scancode=CODES[label], key=0, mod=0))


def let_go(label: str) -> None:
    """A held key goes up."""
    pygame.event.post(pygame.event.Event(pygame.KEYUP, scancode=CODES[label], key=0, mod=0))


class Camera(Window):
    """A window that asks a story what comes next at every flip."""

    story: Story

    def flip(self) -> None:
        """Show, and go on in the story; its end closes the window."""
        super().flip()
        if next(self.story, self) is self:
            pygame.event.post(pygame.event.Event(pygame.QUIT))

    def shoot(self, name: str) -> None:
        """Save what is on the screen now."""
        pygame.image.save(pygame.display.get_surface(), DOCS / f"screen_{name}.png")
        print(f"docs/screen_{name}.png")


def walk(session: Session, frames: int) -> Story:
    """Wait until so many frames were played."""
    until = session.runner.frame_index + frames
    while session.runner.frame_index < until:
        yield


def flips(count: int) -> Story:
    """Wait until the window was drawn so often."""
    for _ in range(count):
        yield


def dream_story(camera: Camera, session: Session) -> Story:
    """Play, save, rewind, pause, what if, menu."""
    yield from walk(session, 1)
    press("W", holds=True)
    yield from walk(session, 12)
    press("Right", holds=True)
    yield from walk(session, 4)
    press("F2")
    yield from walk(session, 3)
    camera.shoot("play")
    press("F2")
    press("F2")
    press("F5")
    let_go("Right")
    yield from walk(session, 9)
    press("A", holds=True)
    press("Left", holds=True)
    yield from walk(session, 5)
    let_go("Left")
    press("F6")
    press("F5")
    yield from walk(session, 2)
    camera.shoot("saves")
    let_go("W")
    press("S", holds=True)
    yield from walk(session, 24)
    while session.strips.slot_cells:
        yield
    let_go("S")
    press("Backspace", holds=True)
    yield from flips(40)
    while (session.runner.rewound or 0) < 14:
        yield
    camera.shoot("rewind")
    let_go("Backspace")
    let_go("A")
    press("Right", holds=True)
    yield from walk(session, 25)
    press("P")
    while len(camera.focus.places) < 2:
        yield
    camera.shoot("timeline")
    press("Tab")
    while not session.runner.fan:
        yield
    yield from flips(3)
    camera.shoot("what_if")
    press("Esc")
    yield from flips(3)
    camera.shoot("menu")
    for label in ("Down", "Down", "Down", "Down", "Enter"):
        press(label)
    yield from flips(4)
    camera.shoot("menu_load")


def both_story(camera: Camera, session: Session) -> Story:
    """Walk and turn in both, set the dream to reality, walk on."""
    yield from walk(session, 1)
    press("W", holds=True)
    yield from walk(session, 12)
    let_go("W")
    press("Left", holds=True)
    yield from walk(session, 30)
    let_go("Left")
    press("S", holds=True)
    yield from walk(session, 18)
    press("F10")
    yield from walk(session, 25)
    camera.shoot("both")


def film(
    env: Env, story: Callable[[Camera, Session], Story], title: str, folder: Path, start: int, eye: Eye | None = None
) -> None:
    """Play a story in a window."""
    camera = Camera("screenshots", env.size_hw, allow_headless=True)
    slots = Slots(folder, title, "here")
    library = Library(("doom_garden",), folder / "recordings", folder / "keys.json")
    session = Session(env, camera, title=title, start=start, slots=slots, library=library, eye=eye, say=print)
    camera.story = story(camera, session)
    session.run()
    camera.close()
    env.close()


def main() -> None:
    """Take them all."""
    names = [argument for argument in sys.argv[1:] if argument != "real"]
    world = worldmodel.load(names[0] if names else worldmodel.default_world())
    eye = Eye(world.tokenizer, world.start_frames.flatten(0, 1))
    with tempfile.TemporaryDirectory() as folder:
        film(worldmodel.Engine(world, threads=1), dream_story, f"{world.name} (dream)", Path(folder), 0, eye)
        if "real" in sys.argv:
            both = Both(Rerun(open_real(world.info["game"])), worldmodel.Engine(world, threads=1))
            film(both, both_story, f"{world.name} (real beside dream)", Path(folder), start=4)


if __name__ == "__main__":
    main()
