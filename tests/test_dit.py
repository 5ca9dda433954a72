"""The one network: shapes, its boundary, its start, what it is conditioned on."""

import pytest
import torch
from tiny import SHAPE, A, B, C, T, clip, network, sight

from worldmodel.diffusion.flow import x0_from_velocity
from worldmodel.model.dit import ACTIVATIONS, CausalDiT, ModelConfig
from worldmodel.model.masks import bidirectional

MASK = bidirectional(T, sight())


def config(**changes):
    sizes = {"width": 32, "layers": 2, "heads": 8, "temporal_heads": 5, "mlp": 2, "sight": sight()}
    return ModelConfig(**sizes | changes)


def test_velocity_has_the_shape_of_its_input_and_is_float32():
    x, actions = clip()
    v = network().bfloat16()(x, torch.rand(B, T), actions, MASK)
    assert v.shape == x.shape
    assert v.dtype == torch.float32


def test_x0_at_sigma_0_is_the_input_for_any_weights():
    x, actions = clip()
    sigma = torch.zeros(B, T)
    assert torch.equal(x0_from_velocity(x, network()(x, sigma, actions, MASK), sigma), x)


def test_a_new_network_says_0_and_learns_from_the_first_step_on():
    x, actions = clip()
    model = CausalDiT(config(), SHAPE, A)
    v = model(x, torch.rand(B, T), actions, MASK)
    (v - x).square().mean().backward()
    assert not v.any()
    assert model.head.bias.grad.any()


@pytest.mark.parametrize("what", ["sigma", "action", "place", "channel"])
def test_the_output_depends_on(what):
    model, (x, actions), sigma = network(), clip(), torch.full((B, T), 0.5)
    v = model(x, sigma, actions, MASK)
    if what == "sigma":
        sigma = sigma + 0.01
    elif what == "action":
        actions = actions + torch.eye(A)[0] * 0.1
    elif what == "place":
        x, v = x.roll(1, 4), v.roll(1, 4)  # equal only if places were interchangeable
    else:
        x = x + 0.1 * torch.eye(C)[0][:, None, None]
    assert (model(x, sigma, actions, MASK) - v).abs().amax((2, 3, 4)).min() > 1e-4


def test_rows_of_a_batch_are_independent():
    model, (x, actions), sigma = network(), clip(), torch.rand(B, T)
    alone = model(x[1:], sigma[1:], actions[1:], MASK)
    torch.testing.assert_close(model(x, sigma, actions, MASK)[1:], alone, rtol=0, atol=1e-5)


def test_the_level_reaches_the_network_as_float32_under_autocast():
    model, actions = network(), torch.zeros(1, 2, A)
    sigma = torch.tensor([[0.9810, 0.9815]])  # one number in bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        first, second = model.condition(sigma, actions)[0].float()
    assert (first - second).abs().max() > 0.01


def test_muon_gets_the_hidden_matrices_and_no_other():
    model = CausalDiT(config(layers=3), SHAPE, A)
    matrices = model.matrix_parameters()
    assert len(matrices) == 4 * 3
    assert {tuple(m.shape) for m in matrices} == {(96, 32), (32, 32), (64, 32), (32, 64)}


def heads(number):
    """Queries, keys and values (B, T, N, heads, d) of which both kinds of heads take theirs."""
    block = network().blocks[0]
    q, k, v = torch.randn(3, B, T, 12, block.heads, block.size)
    first = block.heads - block.temporal
    return block, (q[..., :first, :] if number else q[..., first:, :]), k, v, first


def test_temporal_heads_add_an_age_to_the_key_of_the_same_place():
    """softmax over time of q (k + age) / sqrt(d), arXiv:1803.02155 eq. 4."""
    block, q, k, v, first = heads(0)
    aged = k[:, None, :, :, first:] + block.ages[MASK.view.ages][None, :, :, None]  # (B, query, key, N, heads, d)
    logits = torch.einsum("bqnhd,bqknhd->bqnhk", q, aged) * block.size**-0.5
    naive = torch.einsum("bqnhk,bknhd->bqnhd", logits.softmax(-1), v[..., first:, :])
    torch.testing.assert_close(block._time(q, k, v, MASK), naive.flatten(3), rtol=0, atol=1e-5)


def test_spatial_heads_see_all_places_of_the_near_frames():
    block, q, k, v, first = heads(1)
    for t, times in ((0, [0, 1, 3]), (3, [3, 2, 0, 4, 6]), (6, [6, 5, 3])):
        rows = [0, 1, 2, 3, 4] if t == 3 else [0, 3, 4] if t == 0 else [0, 1, 2]  # itself, past 1 3, future 1 3
        keys = torch.cat([k[:, i, :, :first] + block.nearness[row] for i, row in zip(times, rows, strict=True)], 1)
        values = torch.cat([v[:, i, :, :first] for i in times], 1)
        logits = torch.einsum("bnhd,bmhd->bnhm", q[:, t], keys) * block.size**-0.5
        naive = torch.einsum("bnhm,bmhd->bnhd", logits.softmax(-1), values)
        torch.testing.assert_close(block._space(q, k, v, MASK)[:, t], naive.flatten(2), rtol=0, atol=1e-5)


def test_closed_gates_leave_the_tokens_alone():
    model = network()
    block, x = model.blocks[0], torch.randn(B, T, 12, 32)
    with torch.no_grad():
        for part in (block.modulation.weight, block.modulation.bias):
            part.unflatten(0, (6, 32))[[2, 5]] = 0
    assert torch.equal(block(x, torch.randn(B, T, 32), model.rotation, MASK), x)


@pytest.mark.parametrize(
    "wrong",
    [{"width": 40}, {"temporal_heads": 0}, {"temporal_heads": 8}, {"activation": "tanh"}, {"temporal_every": 0},
     {"temporal_every": 3}],
)  # fmt: skip
def test_impossible_sizes_are_refused(wrong):
    with pytest.raises(ValueError, match="model: "):
        config(**wrong)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_mlp_is_the_function_that_is_named(activation):
    block = CausalDiT(config(width=96, heads=3, temporal_heads=1, activation=activation), SHAPE, A).blocks[0]
    x = block.expand(torch.randn(7, 96))
    gate, up = x.chunk(2, -1)
    expected = {
        "relu2": x.clamp_min(0) ** 2,
        "gelu": x * torch.special.ndtr(x),
        "silu": x * x.sigmoid(),
        "swiglu": gate * gate.sigmoid() * up,
    }[activation]
    torch.testing.assert_close(block.activation(x), expected, rtol=0, atol=1e-3)  # gelu is that by tanh
    sizes = {layer: getattr(block, layer).weight.numel() for layer in ("expand", "contract")}
    assert sizes == {"expand": 256 * 96 if activation == "swiglu" else 192 * 96,
                     "contract": (128 if activation == "swiglu" else 192) * 96}  # fmt: skip
