"""What a training begins with: another's weights in a network that may look further back."""

from dataclasses import replace

import pytest
import torch

from tests.worlds import make_world
from train.load import add_learnt, begin_with
from worldmodel.bundle import read_bundle, read_teacher, seal
from worldmodel.model.dit import CausalDiT
from worldmodel.model.masks import Sight, bidirectional


def network_like(world, **changes):
    student = read_bundle(world).model
    config = replace(student.config, **changes)
    return CausalDiT(config, student.latent_shape, student.num_actions)


def test_a_world_gives_its_teacher_or_else_its_student(tmp_path):
    world = make_world(tmp_path / "tiny")
    model = network_like(world)
    begin_with(world, model)
    torch.testing.assert_close(model.state_dict(), read_teacher(world).state_dict())
    (world / "teacher.safetensors").unlink()
    seal(world)
    begin_with(world, model)
    torch.testing.assert_close(model.state_dict(), read_bundle(world).model.state_dict())


def test_more_key_frames_than_it_began_with_see_as_before_where_both_see(tmp_path, capsys):
    world = make_world(tmp_path / "tiny")
    (world / "teacher.safetensors").unlink()
    seal(world)
    student = read_bundle(world).model
    far = network_like(world, sight=replace(student.config.sight, far=2, every=4))
    drawn = [block.ages.detach().clone() for block in far.blocks]
    begin_with(world, far)
    assert "this run sees" in capsys.readouterr().out
    for block, fresh, theirs in zip(far.blocks, drawn, student.blocks, strict=True):
        assert len(block.ages) == len(theirs.ages) + 2
        torch.testing.assert_close(block.ages[:-2], theirs.ages)
        torch.testing.assert_close(block.ages[-2:], fresh[-2:])
    frames = student.config.sight.window  # no key frame is older than the window yet
    noisy, actions = torch.randn(1, frames, *student.latent_shape), torch.rand(1, frames, student.num_actions)
    levels = torch.full((1, frames), 0.4)
    ours, theirs = (net(noisy, levels, actions, bidirectional(frames, net.config.sight)) for net in (far, student))
    torch.testing.assert_close(ours, theirs)


def test_what_is_recalled_begins_as_the_oldest_of_the_near_frames(tmp_path):
    world = make_world(tmp_path / "tiny")
    recalling = network_like(world, sight=replace(read_bundle(world).model.config.sight, recall=4), pan=90.0)
    begin_with(world, recalling)
    for block, theirs in zip(recalling.blocks, read_teacher(world).blocks, strict=True):
        own, before = block.nearness, theirs.nearness  # itself, 1, 3, what is recalled, and the future
        torch.testing.assert_close(own, torch.cat([before[:3], before[2:3], before[3:]]))
        torch.testing.assert_close(block.qkv.weight, theirs.qkv.weight)


@pytest.mark.parametrize(
    "changes", [{"layers": 3}, {"heads": 2, "temporal_heads": 1}, {"sight": Sight(window=5, sink=1, near=[1, 3])}]
)
def test_any_other_difference_is_refused_with_what_to_name(tmp_path, changes):
    world = make_world(tmp_path / "tiny")
    with pytest.raises(ValueError, match="must name"):
        begin_with(world, network_like(world, **changes))


def test_a_compass_begins_without_a_say_and_then_learns(tmp_path):
    world = make_world(tmp_path / "tiny")
    (world / "teacher.safetensors").unlink()
    seal(world)
    theirs = read_bundle(world).model
    ours = CausalDiT(theirs.config, theirs.latent_shape, theirs.num_actions + 2)
    begin_with(world, ours)
    frames = 4
    noisy, actions = torch.randn(1, frames, *theirs.latent_shape), torch.rand(1, frames, theirs.num_actions)
    told = torch.cat([actions, torch.rand(1, frames, 2) * 2 - 1], -1)
    levels, sight = torch.full((1, frames), 0.4), bidirectional(frames, theirs.config.sight)
    made = ours(noisy, levels, told, sight)
    torch.testing.assert_close(made, theirs(noisy, levels, actions, sight))
    ours(noisy, levels, told, sight).square().mean().backward()
    new = ours.action[0].weight.grad.unflatten(1, (6, -1))[..., theirs.num_actions :]
    assert new.abs().sum() > 0
    with pytest.raises(ValueError, match="another game"):
        begin_with(world, CausalDiT(theirs.config, theirs.latent_shape, theirs.num_actions - 1))


def test_a_student_is_given_what_its_teacher_has_learnt_since(tmp_path):
    world = make_world(tmp_path / "tiny")
    student, teacher, before = (network_like(world) for _ in range(3))
    for network, value in ((student, 5.0), (teacher, 3.0), (before, 1.0)):
        for weight in network.parameters():
            torch.nn.init.constant_(weight, value)
    add_learnt(student, teacher, before)
    assert {weight.unique().item() for weight in student.parameters()} == {7.0}
    assert {weight.unique().item() for weight in (*teacher.parameters(), *before.parameters())} == {1.0, 3.0}
