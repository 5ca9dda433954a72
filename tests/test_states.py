"""States on disk: what goes in comes out, and what does not belong here is refused in one line."""

import numpy as np
import pytest
import torch

from worldmodel.data import states
from worldmodel.data.states import SaveError, Slots, read_state, write_state

FRAME = np.random.default_rng(0).integers(0, 256, (6, 10, 3), np.uint8)
STATE = {
    "keys": [torch.randn(2, 3, dtype=torch.bfloat16), torch.randn(4)[::2]],
    "pending": None, "seed": 7, "nested": {"x": [1, 2.5, "text", True]},
}  # fmt: skip


def same(ours, theirs):
    if isinstance(ours, torch.Tensor):
        return ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(ours[k], theirs[k]) for k in ours)
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return type(ours) is type(theirs) and ours == theirs


def test_a_state_comes_back_bit_by_bit(tmp_path):
    write_state(tmp_path / "a" / "x", STATE, FRAME, {"who": "me"})
    state, about = read_state(tmp_path / "a" / "x")
    assert same(STATE, state)
    assert about["who"] == "me"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["x"]


def test_a_slot_shows_its_frame_and_gives_its_state(tmp_path):
    slots = Slots(tmp_path, "world a", "build 1")
    assert slots.peek(3) is None
    slots.save(3, STATE, FRAME, 41)
    assert slots.peek(3).frame_index == 41
    np.testing.assert_array_equal(slots.peek(3).frame, FRAME)
    assert slots.load(3)[1:] == (41, True)
    assert Slots(tmp_path, "world a", "build 2").load(3)[1:] == (41, False)


def test_a_save_of_another_world_version_or_kind_is_refused_in_one_line(tmp_path, monkeypatch):
    slots = Slots(tmp_path, "world a", "build 1")
    slots.save(0, STATE, FRAME, 1)
    with pytest.raises(SaveError, match="slot 0 was saved in another world"):
        Slots(tmp_path, "world b", "build 1").load(0)
    assert Slots(tmp_path, "world b", "build 1").peek(0) is None
    whole = slots.path(0).read_bytes()
    for damaged in (b"", b"not a save", whole[:-5], whole[: len(whole) // 3], b"\xff" * 40):
        slots.path(0).write_bytes(damaged)
        with pytest.raises(SaveError) as caught:
            slots.load(0)
        assert "\n" not in str(caught.value)
    slots.path(0).write_bytes(whole)
    monkeypatch.setattr(states, "FORMAT", 2)
    with pytest.raises(SaveError, match="another version"):
        slots.load(0)


def test_a_full_disk_keeps_the_old_save(tmp_path, monkeypatch):
    slots = Slots(tmp_path, "world a", "build 1")
    slots.save(0, STATE, FRAME, 1)
    before = slots.path(0).read_bytes()

    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(states.os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        slots.save(0, STATE, 255 - FRAME, 2)
    assert slots.path(0).read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1
