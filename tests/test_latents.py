"""The latent cache: made again when what it is made from changed, and only then."""

import pytest
import torch

from train.latents import is_made, source
from worldmodel.data.episode import write_json
from worldmodel.tokenizer.autoencoder import Tokenizer, TokenizerConfig


@pytest.fixture
def tokenizer():
    torch.manual_seed(0)
    return Tokenizer(TokenizerConfig(size_hw=[8, 16], channels=3, patch=8, widths=[4, 5, 6], whiten=0.0))


def episodes(folder, *lengths):
    paths = [folder / f"train-{i}" for i in range(len(lengths))]
    for path, length in zip(paths, lengths, strict=True):
        path.mkdir(exist_ok=True)
        write_json(path / "meta.json", {"num_steps": length})
    return paths


def test_a_decoder_that_learnt_on_makes_the_same_latents(tokenizer, tmp_path):
    paths = episodes(tmp_path, 7, 9)
    before = source(tokenizer, paths)
    tokenizer.decoder[0].weight.data.add_(1)
    tokenizer.linear_decode.weight.data.add_(1)
    assert source(tokenizer, paths) == before


@pytest.mark.parametrize("name", ["linear_encode.weight", "encoder.1.bias", "mean", "scale"])
def test_another_encoder_makes_other_latents(tokenizer, tmp_path, name):
    paths = episodes(tmp_path, 7)
    before = source(tokenizer, paths)
    tokenizer.state_dict()[name].add_(1)
    assert source(tokenizer, paths) != before


def test_more_or_longer_episodes_make_other_latents(tokenizer, tmp_path):
    found = {source(tokenizer, episodes(tmp_path, *lengths)) for lengths in ((7,), (7, 9), (7, 8))}
    assert len(found) == 3


def test_a_cache_is_whole_with_all_its_shards_and_its_own_source(tmp_path):
    assert not is_made(tmp_path, "a")
    write_json(tmp_path / "latents.json", {"shards": {"train": ["t.safetensors"], "heldout": []}, "made_from": "a"})
    assert not is_made(tmp_path, "a")
    (tmp_path / "t.safetensors").touch()
    assert is_made(tmp_path, "a")
    assert not is_made(tmp_path, "b")
