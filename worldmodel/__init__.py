"""worldmodel: play, record and train dreamed worlds.

world = worldmodel.load("doom_garden")
engine = worldmodel.Engine(world, steps=2)
frame = engine.reset(start=0, seed=7)
frame = engine.step(worldmodel.Action(buttons={"forward"}, mouse=(3.0, 0.0)))
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldmodel.action import Action, ActionSpace

if TYPE_CHECKING:
    from worldmodel.bundle import Offer, World, WorldError
    from worldmodel.engine import Engine

__all__ = ["Action", "ActionSpace", "Engine", "World", "WorldError", "default_world", "load", "offer", "worlds"]

BUNDLED = Path(__file__).parent.parent / "assets" / "worlds"
DEFAULT = "doom_garden"


def worlds() -> list[str]:
    """Names of the bundled worlds."""
    return sorted(path.parent.name for path in BUNDLED.glob("*/world.json"))


def default_world() -> str:
    """The world that play.py opens when it is told none."""
    return DEFAULT


def load(name: str | Path, tier: str = "default") -> World:
    """A bundled world by name, or a bundle by path, in one of its tiers. Raises WorldError, which says what to do."""
    from worldmodel.bundle import read_bundle

    return read_bundle(_place(name), tier)


def offer(name: str | Path) -> Offer:
    """What a world offers to choose from: its tiers. Raises WorldError, as load."""
    from worldmodel.bundle import read_offer

    return read_offer(_place(name))


def _place(name: str | Path) -> Path:
    from worldmodel.bundle import WorldError

    if str(name) in worlds():
        return BUNDLED / str(name)
    if not Path(name).exists():
        raise WorldError(f"no world is called {str(name)!r}; there are {', '.join(worlds()) or 'none'}, or give a path")
    return Path(name)


def __getattr__(name: str) -> Any:
    """Engine, World and WorldError bring torch with them; they are imported when first asked for."""
    if name == "Engine":
        from worldmodel.engine import Engine

        return Engine
    if name in ("World", "WorldError"):
        from worldmodel import bundle

        return getattr(bundle, name)
    raise AttributeError(f"module 'worldmodel' has no attribute {name!r}")
