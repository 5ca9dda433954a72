"""What can be shown of worlds and recordings before any of them is opened: read in a moment, without torch.

look_at      frame size and a start of a bundled world
buttons_of   what can be done in it
look_into    the first frame of a recording, or of the log of a run
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import worldmodel
from worldmodel.action import ActionSpace
from worldmodel.data.episode import START_STATE, load_episode
from worldmodel.data.states import read_header
from worldmodel.data.video import VideoError, load_image
from worldmodel.env import Frame

UNKNOWN_HW = (96, 128)  # of a world that cannot be read yet
BOTH = "-both"  # ends the name of a game beside its dream


def look_at(name: str, start: int = 0) -> tuple[tuple[int, int], Frame | None]:
    """Frame size (H, W) and that start of a bundled world; a guess and None for any other: no picture is decoded for a
    stranger. It never raises.
    """
    folder = worldmodel.BUNDLED / name
    if name not in worldmodel.worlds():
        return UNKNOWN_HW, None
    try:
        height, width = json.loads((folder / "world.json").read_text(encoding="utf-8"))["size_hw"]
        picture = load_image(folder / "starts" / f"{start:02d}.png")
    except (OSError, ValueError, KeyError, VideoError):
        return UNKNOWN_HW, None
    return (height, width), picture if picture.shape == (height, width, 3) else None


def buttons_of(arguments: Sequence[str]) -> ActionSpace:
    """Buttons and mouse of the bundled world that arguments choose by world=NAME, else of the default one; no torch."""
    asked = [argument.removeprefix("world=") for argument in arguments if argument.startswith("world=")]
    known = [name for name in asked if name in worldmodel.worlds()]
    about = worldmodel.BUNDLED / (known or [worldmodel.default_world()])[-1] / "world.json"
    return ActionSpace.from_json(json.loads(about.read_text(encoding="utf-8"))["actions"])


def look_into(recording: str) -> Frame | None:
    """The first frame of a recording; of the log of a run the start of its world, or what was kept of where it began.
    None if there is none or it cannot be read. It never raises.
    """
    try:
        episode = load_episode(recording)
        if episode.meta.has_pictures:
            return episode.frames(0, 1)[0]
        state, start = episode.path / START_STATE, episode.meta.start
        if state.exists():
            return read_header(state)[1]
        is_dreamt = episode.meta.source == "dream" and not episode.meta.game.endswith(BOTH)
        world = str(episode.meta.extra.get("world", ""))
        return look_at(world, start)[1] if is_dreamt and isinstance(start, int) else None
    except (OSError, ValueError, IndexError):  # EpisodeError and VideoError are ValueErrors
        return None
