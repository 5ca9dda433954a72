"""Doom's walls, floors, ceilings and sky without their grain: a small model learns places, not noise.

read_wad, pack_wad   a WAD file <-> its lumps
soften               a game's art -> a PWAD with the same art, blurred; sprites and levels stay as they are
softened             the same as a file, made once

Formats: doomwiki.org/wiki/WAD, /Picture_format, /Flat, /PLAYPAL, /PNAMES.
"""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

import numpy as np

from worldmodel.folders import cache_folder

Lump = tuple[str, bytes]
VERSION = 1  # of what soften does
FLAT = 64  # texels: width and height of a floor or ceiling
CELL = 4  # of 256 levels: colours as near as this are given the same colour of the palette
POST_END = 0xFF


def read_wad(path: Path) -> list[Lump]:
    """(name, data) of every lump, in the order of the file. ValueError if it is no WAD."""
    data = path.read_bytes()
    if data[:4] not in (b"IWAD", b"PWAD"):
        raise ValueError(f"{path}: no WAD file")
    count, at = struct.unpack_from("<ii", data, 4)
    entries = (struct.unpack_from("<ii8s", data, at + 16 * k) for k in range(count))
    return [(name.rstrip(b"\0").decode("latin1").upper(), data[start : start + size]) for start, size, name in entries]


def pack_wad(lumps: list[Lump]) -> bytes:
    """A PWAD of these lumps; names have at most eight letters."""
    directory, at = b"", 12
    for name, data in lumps:
        directory += struct.pack("<ii8s", at, len(data), name.encode("latin1"))
        at += len(data)
    bodies = b"".join(data for _, data in lumps)
    return b"PWAD" + struct.pack("<ii", len(lumps), at) + bodies + directory


def soften(wad: Path, texels: float) -> bytes:
    """A PWAD with the wall patches and flats of a game, blurred by a Gaussian of that standard deviation.

    Shapes, holes and offsets stay, so that levels, sprites and demos play as before.
    """
    lumps = read_wad(wad)
    last = dict(lumps)  # a later lump stands for an earlier one of its name
    palette = np.frombuffer(last["PLAYPAL"][:768], np.uint8).reshape(256, 3).astype(np.float32)
    count = struct.unpack_from("<i", last["PNAMES"])[0]
    names = [last["PNAMES"][4 + 8 * k : 12 + 8 * k] for k in range(count)]
    patches = sorted({name.split(b"\0")[0].decode("latin1").upper() for name in names} & last.keys())
    soft = [(name, _patch(last[name], palette, texels)) for name in patches]
    flats = [(name, _flat(data, palette, texels)) for name, data in _between(lumps, "F_START", "F_END")]
    return pack_wad([*soft, ("FF_START", b""), *flats, ("FF_END", b"")])


def softened(wad: Path, texels: float) -> Path:
    """The file of soften(wad, texels), in the folder of what can be made again.

    OSError if nothing can be written there.
    """
    digest = hashlib.sha256(wad.read_bytes() + f"/{texels}/{VERSION}".encode()).hexdigest()[:16]
    folder = cache_folder() / "art"
    path = folder / f"{wad.stem}-{digest}.wad"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_bytes(soften(wad, texels))
        part.replace(path)  # whole or not at all: other processes may be at it
    return path


def _between(lumps: list[Lump], first: str, last: str) -> list[Lump]:
    names = [name for name, _ in lumps]
    inside = lumps[names.index(first) + 1 : names.index(last)]
    return [(name, data) for name, data in inside if len(data) == FLAT * FLAT]


def _flat(data: bytes, palette: np.ndarray, texels: float) -> bytes:
    indices = np.frombuffer(data, np.uint8).reshape(FLAT, FLAT)
    return _blur(indices, np.ones((FLAT, FLAT), bool), palette, texels).tobytes()


def _patch(data: bytes, palette: np.ndarray, texels: float) -> bytes:
    """A picture in columns of posts: only the bytes of its texels change."""
    width, height = struct.unpack_from("<hh", data)
    places = np.zeros((height, width), np.int64)  # where in data a texel lies; 0: nowhere, it is a hole
    for x, at in enumerate(struct.unpack_from(f"<{width}i", data, 8)):
        while data[at] != POST_END:
            top, length = data[at], data[at + 1]
            shown = min(length, height - top)
            places[top : top + shown, x] = np.arange(at + 3, at + 3 + shown)
            at += length + 4
    out = np.frombuffer(data, np.uint8).copy()
    solid = places > 0
    out[places[solid]] = _blur(out[places], solid, palette, texels)[solid]
    return out.tobytes()


def _blur(indices: np.ndarray, solid: np.ndarray, palette: np.ndarray, texels: float) -> np.ndarray:
    """Colour indices (H, W) of the blurred picture, which repeats in both directions; holes do not count."""
    weight = solid[..., None].astype(np.float32)
    layers = np.concatenate([palette[indices] * weight, weight], -1)
    response = np.ones((1, 1, 1))
    for axis, size in enumerate(indices.shape):
        gain = np.exp(-2 * (np.pi * texels * np.fft.fftfreq(size)) ** 2)
        response = response * np.expand_dims(gain, [a for a in range(3) if a != axis])
    mixed = np.fft.ifft2(np.fft.fft2(layers, axes=(0, 1)) * response, axes=(0, 1)).real
    colour = mixed[..., :3] / np.maximum(mixed[..., 3:], 1e-3)
    mean = palette[indices[solid]].mean(0) if solid.any() else np.zeros(3)
    cells, cell_of = np.unique((colour / CELL).round().astype(int).reshape(-1, 3), axis=0, return_inverse=True)
    return _nearest(cells * CELL, mean, palette)[cell_of].reshape(indices.shape)


def _nearest(colours: np.ndarray, mean: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Palette indices uint8 (N,) for colours (N, 3) of a picture of this mean colour.

    Of colours about equally near, one of the picture's own tint is taken: else a shade between two of the palette's
    ramps becomes blotches of both.
    """
    distance = ((colours[:, None] - palette) ** 2).sum(-1)
    tint = ((_tint(palette) - _tint(mean)) ** 2).sum(-1)
    return (distance + tint).argmin(1).astype(np.uint8)


def _tint(colours: np.ndarray) -> np.ndarray:
    return colours - colours.mean(-1, keepdims=True)
