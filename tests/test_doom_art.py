import struct

import numpy as np
import pytest

from worldmodel.games.doom_art import FLAT, pack_wad, read_wad, soften, softened

GREYS = np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes()
WIDTH, HEIGHT, HOLE = 6, 8, 3


def patch(texels):
    """A picture of columns, each in two posts with one hole at row HOLE; texels uint8 (HEIGHT, WIDTH)."""
    columns = [
        bytes([0, HOLE, 0, *texels[:HOLE, x], 0, HOLE + 1, HEIGHT - HOLE - 1, 0, *texels[HOLE + 1 :, x], 0, 255])
        for x in range(WIDTH)
    ]
    offsets = [8 + 4 * WIDTH + x * len(columns[0]) for x in range(WIDTH)]
    return struct.pack(f"<hhhh{WIDTH}i", WIDTH, HEIGHT, 1, 2, *offsets) + b"".join(columns)


@pytest.fixture
def wad(tmp_path):
    """A game of greys: one wall of noise, one floor of noise, one sprite."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
    floor = rng.integers(0, 256, FLAT * FLAT, dtype=np.uint8).tobytes()
    names = struct.pack("<i8s", 1, b"wall")
    lumps = [("PLAYPAL", GREYS), ("PNAMES", names), ("WALL", patch(noise)), ("TROOA1", patch(noise))]
    path = tmp_path / "game.wad"
    path.write_bytes(pack_wad([*lumps, ("F_START", b""), ("FLOOR", floor), ("F_END", b"")]))
    return path


def soft(wad, tmp_path, texels=4.0):
    (tmp_path / "soft.wad").write_bytes(soften(wad, texels))
    return dict(read_wad(tmp_path / "soft.wad"))


def test_lumps_come_back_as_they_were_packed(tmp_path):
    lumps = [("A", b"one"), ("MARKER", b""), ("B", b"three")]
    (tmp_path / "x.wad").write_bytes(pack_wad(lumps))
    assert read_wad(tmp_path / "x.wad") == lumps


def test_another_file_is_refused(tmp_path):
    (tmp_path / "x.wad").write_bytes(b"GIF89a" + bytes(40))
    with pytest.raises(ValueError, match="no WAD"):
        read_wad(tmp_path / "x.wad")


def test_floors_lose_their_grain_and_keep_their_mean(wad, tmp_path):
    floor = np.frombuffer(soft(wad, tmp_path)["FLOOR"], np.uint8).astype(float)
    assert floor.std() < 10
    assert abs(floor.mean() - 127.5) < 4


def test_only_texels_of_a_wall_change(wad, tmp_path):
    before, after = dict(read_wad(wad))["WALL"], soft(wad, tmp_path)["WALL"]
    changed = np.flatnonzero(np.frombuffer(before, np.uint8) != np.frombuffer(after, np.uint8))
    column = 3 + HOLE + 1 + 3 + (HEIGHT - HOLE - 1) + 2
    rows = (changed - 8 - 4 * WIDTH) % column
    assert len(changed) > HEIGHT
    assert not set(rows) & {0, 1, 2, 3 + HOLE, 4 + HOLE, 5 + HOLE, 6 + HOLE, column - 1}


def test_sprites_are_left_alone(wad, tmp_path):
    assert soft(wad, tmp_path).keys() == {"WALL", "FF_START", "FLOOR", "FF_END"}


def test_less_blur_leaves_more(wad, tmp_path):
    floors = [np.frombuffer(soft(wad, tmp_path, texels)["FLOOR"], np.uint8).std() for texels in (0.5, 1.0, 4.0)]
    assert floors[0] > floors[1] > floors[2]


def test_the_file_is_made_once(wad, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLDMODEL_CACHE", str(tmp_path / "cache"))
    first = softened(wad, 4.0)
    made = first.stat().st_mtime_ns
    assert first.parent == tmp_path / "cache/art"
    assert softened(wad, 4.0) == first
    assert first.stat().st_mtime_ns == made
    assert softened(wad, 2.0) != first
