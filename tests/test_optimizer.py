"""Optimiser: the schedule at its edges, the skip rule, who moves which parameter."""

import pytest
import torch
from torch import nn

from worldmodel.training.optimizer import MAX_SKIPS, Optimizer, OptimizerConfig, lr_factor

torch.set_num_threads(1)
INF = float("inf")


def config(**changed):
    values = {
        "kind": "adamw", "lr": 0.1, "muon_lr": 0.2, "betas": [0.9, 0.95], "weight_decay": 0.0, "clip": 1.0,
        "skip_above": 10.0, "warmup_steps": 0, "decay_from": 1.0, "decay_to": 0.0,
    }  # fmt: skip
    return OptimizerConfig(**(values | changed))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.hidden = nn.Linear(2, 3), nn.Linear(3, 5)

    def matrix_parameters(self):
        return [self.hidden.weight]


def stepped(optimizer, net, scale, step=0):
    """Metrics of a step whose loss has gradient `scale` everywhere, and whether anything moved."""
    before = [p.detach().clone() for p in net.parameters()]
    metrics = optimizer.step(scale * sum(p.sum() for p in net.parameters()), step, 0.0)
    return metrics, any(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_the_schedule_at_its_edges():
    ours = config(warmup_steps=4, decay_from=0.5, decay_to=0.2)
    assert [lr_factor(ours, step, 0.0) for step in (0, 1, 3, 4)] == [0.25, 0.5, 1.0, 1.0]
    assert [lr_factor(ours, 9, progress) for progress in (0.5, 0.75, 1.0)] == pytest.approx([1.0, 0.6, 0.2])
    assert lr_factor(config(), 0, 1.0) == 1.0


def test_the_rate_is_applied_to_every_group():
    net = Net()
    optimizer = Optimizer(net, config(kind="muon", warmup_steps=2))
    metrics, _ = stepped(optimizer, net, 0.01)
    assert metrics["lr"] == 0.05
    assert {g["lr"] for g in optimizer.optimizers["adamw"].param_groups} == {0.05}
    assert {g["lr"] for g in optimizer.optimizers["muon"].param_groups} == {0.1}


def test_muon_moves_the_hidden_matrices_and_adamw_the_rest():
    net = Net()
    optimizer = Optimizer(net, config(kind="muon"))
    owners = {name: [p for g in o.param_groups for p in g["params"]] for name, o in optimizer.optimizers.items()}
    assert [p is net.hidden.weight for p in owners["muon"]] == [True]
    assert {id(p) for p in owners["adamw"]} == {id(p) for p in net.parameters()} - {id(net.hidden.weight)}


def test_a_step_is_seen_by_the_next_pass_of_the_same_autocast_region():
    net, x = Net(), torch.ones(1, 3)
    optimizer = Optimizer(net, config())
    with torch.autocast("cpu", torch.bfloat16):
        for step in range(3):
            optimizer.step(net.hidden(x).float().square().mean(), step, 0.0)
        seen = net.hidden(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(seen, net.hidden(x))


def test_the_norm_is_reported_before_clipping():
    net = Net()
    metrics, has_moved = stepped(Optimizer(net, config(clip=0.5)), net, 1.0)
    assert metrics["grad_norm"] == pytest.approx(29**0.5)  # 6 + 3 + 15 + 5 parameters
    assert metrics["skipped"] == 1  # above ten times 0.5
    assert not has_moved


@pytest.mark.parametrize(
    ("scale", "skip_above", "step", "is_skipped"),
    [(1.0, 10.0, 5, False), (3.0, 10.0, 5, True), (3.0, 10.0, 1, False), (3.0, 0.0, 5, False), (INF, 0.0, 0, True)],
)  # fmt: skip
def test_updates_are_skipped_when_too_large_after_warmup_or_not_finite(scale, skip_above, step, is_skipped):
    net = Net()
    optimizer = Optimizer(net, config(skip_above=skip_above, warmup_steps=2))
    metrics, has_moved = stepped(optimizer, net, scale, step)
    assert metrics["skipped"] == is_skipped
    assert has_moved is not is_skipped
    assert all(p.grad is None for p in net.parameters())


def test_a_run_that_skips_everything_says_so():
    net = Net()
    optimizer = Optimizer(net, config(clip=0.01))
    for step in range(MAX_SKIPS - 1):
        stepped(optimizer, net, 1.0, step)
    with pytest.raises(FloatingPointError, match=r"skip_above"):
        stepped(optimizer, net, 1.0, MAX_SKIPS)


def test_vectors_do_not_decay():
    net = Net()
    optimizer = Optimizer(net, config(weight_decay=0.5))
    bias, weight = net.hidden.bias.detach().clone(), net.hidden.weight.detach().clone()
    stepped(optimizer, net, 0.0)
    assert torch.equal(net.hidden.bias, bias)
    assert not torch.equal(net.hidden.weight, weight)


def test_state_of_another_kind_is_refused():
    muon, adamw = Optimizer(Net(), config(kind="muon")), Optimizer(Net(), config())
    with pytest.raises(ValueError, match=r"optimizer\.kind"):
        adamw.load_state_dict(muon.state_dict())


@pytest.mark.parametrize("wrong", [{"kind": "sgd"}, {"betas": [0.9]}, {"clip": 0.0}, {"decay_from": 1.5}])
def test_config_refuses_nonsense(wrong):
    with pytest.raises(ValueError, match=f"optimizer.{next(iter(wrong))}"):
        config(**wrong)
