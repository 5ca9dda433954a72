"""A whole frame as one function is what rollout makes, pass by pass."""

from functools import partial

import pytest
import torch
from worlds import TURNING, make_world

import worldmodel
from worldmodel.backends.frame import WholeFrame, least_past, looks_at
from worldmodel.backends.packed import pack
from worldmodel.compass import Compass
from worldmodel.diffusion.noise import frame_noise
from worldmodel.diffusion.rollout import consistency, prefill, rollout
from worldmodel.model.cache import look, num_rows, num_slots, row_of
from worldmodel.model.masks import Sight

FRAMES = 43  # several times around the ring of the tiny world


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world") / "tiny")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """The world of a network of another kind."""
    return make_world(tmp_path_factory.mktemp("other") / "tiny", activation="swiglu", temporal_every=2)


def noise(shape, t, steps):
    return torch.stack([frame_noise(5, t, k, shape) for k in range(steps)])


def begun(world, batch):
    """The starts of the world committed but for the newest frame; that, and the actions from its own on."""
    latents = world.tokenizer.encode(world.start_frames[:batch])
    torch.manual_seed(2)
    moves = [torch.zeros(batch, 1, 3), world.start_actions[:batch], torch.rand(batch, FRAMES, 3) - 0.3]
    told = Compass.of(world.actions).along(torch.cat(moves, 1))
    cache, given = world.model.new_cache(batch), latents.shape[1] - 1
    prefill(world.model, cache, latents[:, :-1], told[:, :given])
    return cache, latents[:, -1:], told[:, given:]


def by_looks(whole, cache, *inputs):
    out = whole(cache.keys, cache.values, looks_at(cache, inputs[1]), *inputs)
    cache.advance()
    return out


def by_counter(whole, cache, *inputs):
    out = whole.counted(cache.keys, cache.values, torch.tensor([cache.length]), *inputs)
    cache.advance()
    return out


@pytest.mark.parametrize("call", [by_looks, by_counter])
@pytest.mark.parametrize("pack", [lambda whole, rows: whole, pack], ids=["plain", "packed"])
@pytest.mark.parametrize(("steps", "batch"), [(1, 2), (2, 1), (2, 2)])
@torch.inference_mode()
def test_a_whole_frame_is_what_rollout_makes(path, steps, batch, pack, call):
    check_a_whole_frame(worldmodel.load(path), steps, batch, pack, call)


@torch.inference_mode()
def test_it_is_where_only_some_layers_look_through_time(other):
    world = worldmodel.load(other)
    assert [hasattr(block, "ages") for block in world.model.blocks] == [False, True]
    check_a_whole_frame(world, 2, 2, pack, by_counter)


@torch.inference_mode()
@pytest.mark.parametrize("batch", [1, 2])
def test_it_is_where_frames_are_recalled_by_their_heading(tmp_path, batch):
    world = worldmodel.load(make_world(tmp_path / "turning", **TURNING))
    check_a_whole_frame(world, 2, batch, pack, by_looks)


def check_a_whole_frame(world, steps, batch, pack, call):
    (plain, newest, moves), (cache, x0, _) = (begun(world, batch) for _ in range(2))
    prefill(world.model, plain, newest, moves[:, :1])
    sampler = partial(consistency, noise_scale=world.noise_scale)
    shape, sigmas = x0.shape, world.sigmas[steps]
    expected = rollout(world.model, plain, moves[:, 1:], sigmas, lambda t, k: noise(shape, t, steps)[k], sampler)
    whole = pack(WholeFrame(world.model, world.tokenizer, sigmas, world.noise_scale), 12)
    for t in range(FRAMES):
        x0, picture = call(whole, cache, x0, moves[:, t : t + 2], noise(shape, t, steps))
        torch.testing.assert_close(x0, expected[:, t : t + 1], rtol=0, atol=1e-4)
    assert picture.shape == (batch, 16, 24, 3)


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("sight", [Sight(window=6, sink=1, near=[1, 3]), Sight(window=2, sink=4, near=[1, 2]),
                                   Sight(window=3, sink=1, near=[1, 3], far=2, every=4)])  # fmt: skip
def test_the_table_of_looks_holds_every_look_there_will_ever_be(sight, frames):
    rows = [look(length, frames, sight) for length in range(num_rows(sight))]
    for length in range(least_past(sight), 5 * num_slots(sight)):
        now, known = look(length, frames, sight), rows[row_of(length, sight)]
        for ours, theirs in zip((*now.view[:3], *now[1:]), (*known.view[:3], *known[1:]), strict=True):
            assert torch.equal(ours, theirs)
        assert now.view.near_bias is None
