"""Numbers that a game draws from its seeds, the same everywhere and for ever."""

from __future__ import annotations

import hashlib


def draw(*parts: object) -> int:
    """A number in [0, 2^31) that is a function of the parts and of nothing else."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:4], "little") & 0x7FFFFFFF
