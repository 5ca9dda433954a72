"""Checkpoints: bit-exact there and back, whole or refused, never half."""

import errno

import pytest
import torch
from torch import nn

from worldmodel.training import checkpoint as checkpoint_module
from worldmodel.training.checkpoint import CheckpointError, load_checkpoint, load_weights, save_checkpoint
from worldmodel.training.ema import EMA

torch.set_num_threads(1)


def save(folder, step=3, state=None, **more):
    given = {"model": {"w": torch.arange(6.0)}} if state is None else state
    save_checkpoint(folder, "toy", step, {"lr": 0.1}, given, {"seconds": 1.5}, **more)


@pytest.mark.parametrize("shard_bytes", [0, 40])
def test_what_went_in_comes_out(tmp_path, shard_bytes):
    torch.manual_seed(0)
    state = {
        "tensors": {"f": torch.randn(7, 5), "b": torch.randn(3, 2).bfloat16(), "i": torch.tensor([1, -2])},
        "odd": {"scalar": torch.tensor(2.5), "bool": torch.tensor(True)},
        "shapes": {"empty": torch.zeros(0, 4), "t": torch.randn(4, 6).t()[::2]},
        "builtins": {0: 1, "0": [1, 0.1, True, None, "é"], "t": (1, (2,)), "inf": float("inf"), "$x": {}, "big": 2**70},
        "same keys": {0: torch.ones(2), "0": torch.zeros(2)},
    }  # fmt: skip
    save(tmp_path / "c", state=state, shard_bytes=shard_bytes)
    back = load_checkpoint(tmp_path / "c")
    assert (back.stage, back.step, back.config, back.extra) == ("toy", 3, {"lr": 0.1}, {"seconds": 1.5})
    assert back.state["builtins"] == state["builtins"]
    for part in ("tensors", "odd", "shapes", "same keys"):
        torch.testing.assert_close(back.state[part], state[part], rtol=0, atol=0)
    assert (len(list((tmp_path / "c").glob("*.safetensors"))) > 4) == (shard_bytes == 40)


def test_shared_tensors_come_back_apart(tmp_path):
    w = torch.randn(3, 4)
    save(tmp_path / "c", state={"model": {"a": w, "b": w, "row": w[1]}})
    back = load_checkpoint(tmp_path / "c").state["model"]
    back["a"].zero_()
    assert torch.equal(back["b"], w)
    assert torch.equal(back["row"], w[1])


def test_no_flipped_byte_is_ever_loaded(tmp_path):
    save(tmp_path / "c")
    for path in sorted((tmp_path / "c").iterdir()):
        whole = path.read_bytes()
        for at in range(0, len(whole), 7):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
            try:
                loaded = load_checkpoint(tmp_path / "c")  # a flip in the manifest's white space changes nothing
                assert torch.equal(loaded.state["model"]["w"], torch.arange(6.0))
                assert path.name == "manifest.json"
            except CheckpointError:
                pass
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["manifest.json", "checkpoint.json", "state-00000.safetensors"])
def test_a_missing_or_cut_file_is_refused(tmp_path, name):
    save(tmp_path / "c")
    path = tmp_path / "c" / name
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path / "c")
    path.unlink()
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path / "c")


def test_a_folder_that_is_not_there_says_what_to_do(tmp_path):
    with pytest.raises(CheckpointError, match="run the stage"):
        load_checkpoint(tmp_path / "nothing")


def test_the_one_before_is_kept_and_leftovers_are_swept(tmp_path):
    (tmp_path / "c.tmp-99").mkdir()
    for step in (1, 2, 3):
        save(tmp_path / "c", step)
    assert load_checkpoint(tmp_path / "c").step == 3
    assert load_checkpoint(tmp_path / "c.previous").step == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "c.previous"]


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    save(tmp_path / "c", 1)

    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint_module, "_write", full)
    with pytest.raises(CheckpointError, match="24 bytes"):
        save(tmp_path / "c", 2)
    assert load_checkpoint(tmp_path / "c").step == 1
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_what_is_neither_tensor_nor_builtin_is_refused(tmp_path):
    with pytest.raises(TypeError, match="model/w is a device"):
        save(tmp_path / "c", state={"model": {"w": torch.device("cpu")}})
    with pytest.raises(TypeError, match="keys must be"):
        save(tmp_path / "c", state={"model": {(1, 2): 3}})
    assert not (tmp_path / "c").exists()


def test_weights_of_a_module_or_an_ema_load_strictly(tmp_path):
    net, other = nn.Linear(3, 2), nn.Linear(3, 2)
    save(tmp_path / "c", state={"model": net.state_dict(), "ema": EMA(net, 0.9).state_dict(), "o": {"x": {}}})
    for name in ("model", "ema"):
        other.load_state_dict(load_weights(tmp_path / "c", name))
        assert torch.equal(other.weight, net.weight)
    with pytest.raises(CheckpointError, match="holds no 'student'"):
        load_weights(tmp_path / "c", "student")
    with pytest.raises(CheckpointError, match="not the state of a module"):
        load_weights(tmp_path / "c", "o")
