"""Consistency distillation: its fixed points in closed form, who gets gradients, which levels are trained."""

import math

import pytest
import torch
from tiny import B, Flow, clip, network, no_grads, point

from worldmodel.diffusion.consistency import ConsistencyConfig, consistency_loss, draw_pair, teacher_step
from worldmodel.diffusion.flow import grid
from worldmodel.diffusion.teacher import split_clip

CPU = torch.device("cpu")
NOTHING = 1e-3  # the loss of equal x0's: sqrt(0 + 1e-6)


def config(**changes):
    return ConsistencyConfig(**{"levels": 8, "shift": 3.0, "solver": "euler", "first_share": 0.25} | changes)


def context(frames=4, batch=B):
    latents, actions = clip(frames + 1, batch)
    return split_clip(latents, actions, None)


def gaussian(s):
    """The flow of data N(0, s^2): v = E[eps - x0 | xt], linear in xt."""
    return Flow(lambda xt, u: xt * (u - (1 - u) * s**2) / ((1 - u) ** 2 * s**2 + u**2).clamp_min(1e-9))


def gains(s, levels, shift, solver):
    """g[k]: the fixed point x0 = g[k] xt at level k, the product of the teacher's steps from there down.

    g[0] is the deviation of what comes out of unit noise: s, if it were exact.
    """
    u = grid(levels, shift)
    past, target = context(levels, batch=1)
    ends = teacher_step(gaussian(s), past, torch.ones_like(target), u[None, :-1], u[None, 1:], heun=solver == "heun")
    steps = ends[0, :, 0, 0, 0]
    return torch.cat([steps.flip(0).cumprod(0).flip(0), torch.ones(1)])


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_the_exact_flow_of_a_point_has_no_loss(solver):
    past, target = context()
    flow = point(target)
    loss = consistency_loss(flow, flow, flow, past, target, config(solver=solver))
    assert abs(loss - NOTHING) < 1e-5


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_the_exact_flow_of_another_point_has_a_loss(solver):
    past, target = context()
    flow, other = point(target), point(target + 0.5)
    assert consistency_loss(other, flow, flow, past, target, config(solver=solver)) > 0.4


@pytest.mark.parametrize(("levels", "gain"), [(12, 0.806), (48, 0.948), (400, 0.994)])
def test_euler_shrinks_a_unit_gaussian_by_the_product_of_its_steps(levels, gain):
    assert abs(gains(1.0, levels, 5.0, "euler")[0] - gain) < 6e-4


@pytest.mark.parametrize(("s", "shift", "euler", "heun"), [
    (0.1, 1.0, 0.911, 0.983), (0.1, 2.0, 0.838, 0.934), (0.1, 5.0, 0.640, 0.704),
    (0.3, 1.0, 0.961, 0.998), (0.3, 2.0, 0.936, 0.991), (0.3, 5.0, 0.862, 0.948),
])  # fmt: skip
def test_heun_shrinks_detail_less_than_euler(s, shift, euler, heun):
    assert abs(gains(s, 48, shift, "euler")[0] / s - euler) < 6e-4
    assert abs(gains(s, 48, shift, "heun")[0] / s - heun) < 6e-4


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_the_product_of_the_teachers_steps_is_the_fixed_point_of_the_loss(solver):
    u, g = grid(8, 3.0), gains(0.3, 8, 3.0, solver)

    def jump(xt, sigma):
        """v of the network that says x0 = g xt."""
        gain = g[(sigma[..., None] - u).abs().argmin(-1)]
        return xt * (1 - gain) / sigma.clamp_min(1e-9)

    past, target = context()
    loss = consistency_loss(Flow(jump), Flow(jump), gaussian(0.3), past, target, config(solver=solver))
    assert abs(loss - NOTHING) < 1e-5


def test_student_equals_slow_copy_and_small_steps_leave_little_loss():
    model, (past, target) = network(), context()
    few, many = (consistency_loss(model, model, model, past, target, config(levels=n)) for n in (10, 10**5))
    assert many < 2 * NOTHING
    assert few > 20 * NOTHING


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_no_gradient_reaches_teacher_or_slow_copy(solver):
    student, slow, teacher = (network() for _ in range(3))
    consistency_loss(student, slow, teacher, *context(), config(solver=solver)).backward()
    assert no_grads(teacher)
    assert no_grads(slow)
    assert not no_grads(student)


@pytest.mark.parametrize(("solver", "calls"), [("euler", 1), ("heun", 2)])
def test_the_teacher_is_asked_once_by_euler_and_twice_by_heun(solver, calls):
    past, target = context()
    student, slow, teacher = (point(target) for _ in range(3))
    consistency_loss(student, slow, teacher, past, target, config(solver=solver))
    assert (teacher.calls, slow.calls, student.calls) == (calls, 1, 1)


def test_all_pairs_are_drawn_the_last_one_too_and_they_are_neighbours():
    sigma, lower = draw_pair((100, 50), config(levels=6), CPU)
    levels = grid(6, 3.0)
    pairs = {(s.item(), r.item()) for s, r in zip(sigma.flatten(), lower.flatten(), strict=True)}
    assert pairs == {(levels[k].item(), levels[k + 1].item()) for k in range(6)}
    assert sigma.dtype == lower.dtype == torch.float32


def test_pairs_are_equally_likely_besides_the_share_of_the_first():
    first = [(draw_pair((200, 100), config(levels=4, first_share=share), CPU)[0] == 1).float().mean().item()
             for share in (0.0, 0.5, 1.0)]  # fmt: skip
    assert all(math.isclose(got, want, abs_tol=0.02) for got, want in zip(first, (0.25, 0.625, 1.0), strict=True))


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_at_the_last_pair_the_target_is_where_the_teacher_arrives(solver):
    """With one level the only pair is (1, 0); neither the slow copy nor Heun's slope at 0 has a say."""
    past, target = context()
    other = point(target - 3)
    loss = consistency_loss(point(target), other, point(target), past, target, config(levels=1, solver=solver))
    assert abs(loss - NOTHING) < 1e-5


def test_a_unit_of_error_in_one_frame_weighs_as_its_root_mean_square():
    past, target = context()
    off = target.clone()
    off[:, 1] += 2.0
    loss = consistency_loss(point(off), point(target), point(target), past, target, config(levels=1))
    assert abs(loss - (3 * NOTHING + 2.0) / 4) < 1e-3


def test_student_slow_copy_and_teacher_see_the_same_past():
    past, target = context()
    pasts = []

    class Watching(Flow):
        def __call__(self, xt, sigma, actions, memory):
            pasts.append((xt[:, :4], sigma[:, :4], actions))
            return super().__call__(xt, sigma, actions, memory)

    watching = Watching(lambda xt, sigma: xt)
    consistency_loss(watching, watching, watching, past, target, config(solver="heun"))
    assert len(pasts) == 4
    assert all(torch.equal(a, b) for seen in pasts for a, b in zip(seen, pasts[0], strict=True))
    assert torch.equal(pasts[0][0], past.latents)


def test_an_unknown_solver_is_refused():
    with pytest.raises(ValueError, match="solver must be euler or heun"):
        config(solver="rk4")
