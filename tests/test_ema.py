"""EMA: its closed form, its start, its counter."""

import pytest
import torch
from torch import nn

from worldmodel.training.ema import EMA

torch.set_num_threads(1)


def constant(value):
    net = nn.BatchNorm1d(3)
    with torch.no_grad():
        for tensor in (net.weight, net.bias, net.running_mean):
            tensor.fill_(value)
    return net


def test_a_constant_is_approached_geometrically():
    ema = EMA(constant(2.0), 0.9, warmup=False)
    for step in range(7):
        ema.update(constant(5.0), step)
    expected = 5 + 0.9**7 * (2 - 5)
    torch.testing.assert_close(ema.model.weight, torch.full((3,), expected))


def test_before_its_start_it_copies_and_buffers_are_always_copied():
    ema = EMA(constant(2.0), 0.9, start_step=1, warmup=False)
    ema.update(constant(4.0), 0)
    assert torch.equal(ema.model.weight, torch.full((3,), 4.0))
    ema.update(constant(5.0), 1)
    torch.testing.assert_close(ema.model.weight, torch.full((3,), 4.1))
    assert torch.equal(ema.model.running_mean, torch.full((3,), 5.0))


def test_warmup_follows_fast_at_first():
    ema = EMA(constant(0.0), 0.99)
    ema.update(constant(1.0), 0)
    torch.testing.assert_close(ema.model.weight, torch.full((3,), 0.9))


def test_the_counter_travels_with_the_state():
    ours, theirs = EMA(constant(0.0), 0.99), EMA(constant(7.0), 0.99)
    for step in range(3):
        ours.update(constant(1.0), step)
    theirs.load_state_dict(ours.state_dict())
    for ema in (ours, theirs):
        ema.update(constant(2.0), 3)
    assert torch.equal(ours.model.weight, theirs.model.weight)


def test_the_copy_is_apart_and_takes_no_gradient():
    net = constant(1.0)
    ema = EMA(net, 0.5)
    assert not ema.model.training
    assert not any(p.requires_grad for p in ema.model.parameters())
    assert net.weight.requires_grad
    assert ema.model.weight.data_ptr() != net.weight.data_ptr()


def test_decay_is_checked():
    with pytest.raises(ValueError, match=r"ema\.decay"):
        EMA(constant(0.0), 1.0)
