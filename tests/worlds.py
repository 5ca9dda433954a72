"""A tiny world on disk for the tests of bundle, engine and play: random weights, all sizes differ."""

from dataclasses import replace

import torch

from worldmodel.action import ActionSpace
from worldmodel.bundle import add_tier, read_bundle, seal, write_bundle
from worldmodel.model.dit import CausalDiT, ModelConfig
from worldmodel.model.masks import Sight
from worldmodel.tokenizer.autoencoder import Tokenizer, TokenizerConfig

# A network that recalls what looked the same way, and whose columns are directions
TURNING = {"recall": 2, "far": 2, "every": 4, "pan": 70.0, "turns": (0.0, 0.0, 20.0)}
ACTIONS = ActionSpace(("forward", "attack"), (20.0, 0.0))


def make_world(folder, name="tiny", *, activation="relu2", temporal_every=1, pan=0.0, turns=(), about=None, **far):
    """Write and seal a bundle; gives its folder. Frames 16 x 24, latents (5, 2, 3), 2 starts of 5 frames, a teacher;
    a compass, if turns are told; about: what world.json says otherwise.
    """
    sizes = TokenizerConfig(size_hw=[16, 24], channels=5, patch=8, widths=[8, 8, 4], whiten=0.0)
    config = ModelConfig(
        width=32, layers=2, heads=4, temporal_heads=2, mlp=2, sight=Sight(window=6, sink=1, near=[1, 3], **far),
        activation=activation, temporal_every=temporal_every, pan=pan,
    )  # fmt: skip
    return _write(folder, name, sizes, config, turns, about or {})


def make_full_world(folder, name="full", patch=16, pan=0.0, turns=(), about=None, **far):
    """The same in sizes that fill vectors, for code written by hand: frames 32 x 48 (patch 16), latents (16, 2, 3)."""
    size_hw = [2 * patch, 3 * patch]
    sizes = TokenizerConfig(size_hw=size_hw, channels=16, patch=patch, widths=[48, 32, 16], whiten=0.0)
    config = ModelConfig(
        width=96, layers=2, heads=3, temporal_heads=1, mlp=2, pan=pan,
        sight=Sight(window=6, sink=1, near=[1, 3], **far),
    )  # fmt: skip
    return _write(folder, name, sizes, config, turns, about or {})


def _write(folder, name, sizes, config, turns, about):
    torch.manual_seed(3)
    actions = replace(ACTIONS, turns=turns)
    model = CausalDiT(config, sizes.latent_shape, actions.told)
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0, 0.2)
    info = {
        "name": name, "title": "Tiny", "game": "doom_garden", "fps": 17.5, "actions": actions.to_json(),
        "sigmas": {"1": [1.0], "2": [1.0, 0.5]}, "noise_scale": 1.25,
        "steps": 2, "starts": ["a", "b"], "licence": "none", "training": {},
    } | about  # fmt: skip
    frames = torch.randint(0, 256, (2, 5, *sizes.size_hw, 3), dtype=torch.uint8)
    teacher = CausalDiT(config, sizes.latent_shape, actions.told)
    nets = {"student": model, "tokenizer": Tokenizer(sizes), "teacher": teacher}
    write_bundle(folder, info, nets, frames, torch.rand(2, 4, actions.size), "# Tiny\n")
    seal(folder)
    return folder


def add_big(folder, **about):
    """Give a tiny world a second, larger tier, `big`, with noise of its own; gives its folder."""
    small = read_bundle(folder)
    config = replace(small.model.config, width=64, layers=3)
    add_tier(folder, "big", CausalDiT(config, small.model.latent_shape, small.actions.told), {"training": {}, **about})
    seal(folder)
    return folder
