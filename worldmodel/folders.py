"""Where things are kept for this user that belong to no project: one question, so that all ask it alike."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """WORLDMODEL_CACHE, or the user's cache: machine code, calibrations, softened art. All of it can be made again."""
    told = os.environ.get("WORLDMODEL_CACHE")
    return Path(told) if told else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "worldmodel"
