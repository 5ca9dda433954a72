"""What comes from outside while one plays: files dropped on the window, the clipboard.

wanted_by    a file or folder -> the options of play.py that open it; None for a picture
clipboard    what was copied: a path, a picture, or nothing

Not here: what happens to a picture (crop.py).
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pygame

from worldmodel.data.episode import META, OPEN_META
from worldmodel.env import Frame

PICTURES = ("image/png", "image/bmp", "image/jpeg")
WORLDS = (".world", ".zip")


def wanted_by(path: Path) -> dict[str, Any] | None:
    """A folder is a recording if it has the meta file of one, and a world otherwise, as is a .world file."""
    if path.is_dir():
        is_episode = (path / META).exists() or (path / OPEN_META).exists()
        return {"replay": str(path)} if is_episode else {"world": str(path), "replay": None}
    return {"world": str(path), "replay": None} if path.suffix.lower() in WORLDS else None


def clipboard() -> Path | Frame | None:
    """A picture uint8 (H, W, 3), or the path that a copied text is; None if it is neither or cannot be read here."""
    try:
        text = pygame.scrap.get_text().strip().removeprefix("file://")
        if text and "\n" not in text and Path(text).exists():
            return Path(text)
        if not pygame.scrap.get_init():
            pygame.scrap.init()  # the only way to pictures, for as long as pygame-ce keeps it
        data = next((data for kind in PICTURES if (data := pygame.scrap.get(kind))), None)
        if data:
            return pygame.surfarray.array3d(pygame.image.load(io.BytesIO(data))).swapaxes(0, 1).astype(np.uint8)
    except (pygame.error, OSError, ValueError):
        return None  # nothing there, or no picture: for the player that is the same
    return None
