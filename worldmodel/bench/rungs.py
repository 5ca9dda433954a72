"""The ladder: ways to make the same frames, from the naive loop to the whole frame as machine code.

Rung      one way: a name, and frames without end
ladder    the rungs, slowest first
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from worldmodel.backends import compiled as machine
from worldmodel.backends.compiled import Compiled, Frame, Recipe
from worldmodel.backends.frame import WholeFrame, looks_at, of_frame
from worldmodel.backends.packed import can_pack, pack
from worldmodel.backends.written import Written
from worldmodel.bench.grown import Grown
from worldmodel.bench.setting import Setting
from worldmodel.diffusion.rollout import commit_block, denoise_block, merged_block
from worldmodel.folders import cache_folder
from worldmodel.model.cache import KVCache, Look, Rings
from worldmodel.model.masks import Mask, Memory, Sight, View, teacher_forcing, visible

Frames = Iterator[Tensor]  # one latent (1, 1, C, h, w) a frame, yielded when its picture is made


class Rung(NamedTuple):
    """is_same: computes rollout's function, so that its latents are held to the reference. play(told): frames without
    end; with told (F, C, h, w), the past of each of the first F frames is made of these latents and not of its own.
    """

    name: str
    is_same: bool
    play: Callable[[Tensor | None], Frames]
    is_int8: bool = False


def ladder(setting: Setting, *, compiled: bool) -> list[Rung]:
    """All rungs; those of machine code only if `compiled`, which takes minutes the first time."""
    s, sight = setting, setting.world.model.config.sight
    rungs = [
        Rung("a naive loop, 4 frames again", False, partial(_recompute, s, 4)),
        Rung("b recompute, whole window", False, partial(_recompute, s, sight.window)),
        *([] if sight.recall else [Rung("c keys and values by torch.cat", True, partial(_grown, s))]),
        Rung("d static ring, eager", True, partial(_ring, s)),
        Rung("d merged, eager", True, partial(_merged, s)),
    ]
    if can_pack(torch.device("cpu")):
        rungs.append(Rung("d packed whole frame, eager", True, partial(_whole, s, partial(_packed, s), looks_at)))
    if compiled:
        rungs.append(Rung("e compiled pass by pass", True, partial(_compiled_passes, s)))
        whole = partial(_whole, s, partial(_compiled_apart, s), _looks_apart)
        rungs.append(Rung("f compiled whole frame", True, whole))
        merged = partial(_whole, s, partial(_made, s, _recipe(s)), looks_at)
        rungs.append(Rung("g compiled whole frame, merged", True, merged))
        best = machine.recipe_for(s.world, s.steps, s.dtype, torch.get_num_threads())
        if best.sizes:
            rungs.append(Rung("h written whole frame", True, partial(_whole, s, partial(_made, s, best), looks_at)))
        small = machine.recipe_for(s.world, s.steps, s.dtype, torch.get_num_threads(), int8=True)
        if small.is_int8:
            rungs.append(
                Rung("i written, in eight bits", True, partial(_whole, s, partial(_made, s, small), looks_at), True)
            )
    return rungs


def _goes_on(x0: Tensor, t: int, told: Tensor | None) -> Tensor:
    """What frame t is to those that follow it."""
    return x0 if told is None or t >= len(told) else told[t].view_as(x0).clone()


def _recompute(s: Setting, past: int, told: Tensor | None) -> Frames:
    """No memory: every pass runs over the last frames as well, and the sink where they reach a whole window."""
    model, sight = s.world.model, s.world.model.config.sight
    latents, moves = (list(u.split(1, 1)) for u in s.given())
    masks: dict[tuple[int, ...], Mask] = {}
    for t in itertools.count():
        now, action, noise = len(latents), s.action(t), s.noise(t)
        times = [u for u in range(now) if now - u <= past or (past >= sight.window and _is_seen(now - u, u, sight))]
        key = tuple(min(now - u, sight.reach + 1) for u in times)
        if key not in masks:
            masks[key] = teacher_forcing(times, [now], sight)
        context = torch.cat([latents[u] for u in times], 1)
        led = torch.cat([*(moves[u] for u in times), action], 1)
        first = _Forgetful(model, context, led, masks[key])
        x0 = denoise_block(first, KVCache.__new__(KVCache), action, s.sigmas, noise.__getitem__, s.sampler)
        s.world.tokenizer.decode(x0[0, 0])
        latents.append(_goes_on(x0, t, told))
        moves.append(action)
        yield x0


def _is_seen(age: int, time: int, sight: Sight) -> bool:
    return bool(visible(torch.tensor(age), torch.tensor(time), sight))


class _Forgetful(NamedTuple):
    """A Velocity that runs over the context again at every pass, and looks at no memory."""

    model: Any
    context: Tensor
    led: Tensor
    mask: Mask

    def __call__(self, xt: Tensor, sigma: Tensor, action: Tensor, memory: object) -> Tensor:
        clean = torch.zeros(1, self.context.shape[1])
        both = torch.cat([self.context, xt], 1)
        v: Tensor = self.model(both, torch.cat([clean, sigma], 1), self.led, self.mask)
        return v[:, -1:]


def _grown(s: Setting, told: Tensor | None) -> Frames:
    latents, moves = s.given()
    memory = Grown(s.world.model)
    for t in range(latents.shape[1]):
        memory.commit(latents[:, t : t + 1], moves[:, t : t + 1])
    for t in itertools.count():
        x0 = denoise_block(memory.velocity, memory, s.action(t), s.sigmas, s.noise(t).__getitem__, s.sampler)  # type: ignore[arg-type]
        memory.commit(_goes_on(x0, t, told), s.action(t))
        s.world.tokenizer.decode(x0[0, 0])
        yield x0


def _ring(s: Setting, told: Tensor | None) -> Frames:
    cache, x0, last = s.begin()
    commit_block(s.world.model, cache, x0, last)
    for t in itertools.count():
        x0 = denoise_block(s.world.model, cache, s.action(t), s.sigmas, s.noise(t).__getitem__, s.sampler)
        commit_block(s.world.model, cache, _goes_on(x0, t, told), s.action(t))
        s.world.tokenizer.decode(x0[0, 0])
        yield x0


def _merged(s: Setting, told: Tensor | None) -> Frames:
    model = s.world.model
    cache, x0, last = s.begin()
    for t in itertools.count():
        action, noise = s.action(t), s.noise(t)
        first = merged_block(model, cache, x0, torch.cat([last, action], 1), noise[0], s.sigmas[0])
        x0 = denoise_block(model, cache, action, s.sigmas, noise.__getitem__, s.sampler, first=first)
        s.world.tokenizer.decode(x0[0, 0])
        yield x0
        x0, last = _goes_on(x0, t, told), action


def _whole(
    s: Setting, make: Callable[[], Any], looks: Callable[[KVCache, Tensor], list[list[Tensor]]], told: Tensor | None
) -> Frames:
    frame = make()
    cache, x0, last = s.begin()
    for t in itertools.count():
        moves = torch.cat([last, s.action(t)], 1)
        x0, _ = frame(cache.keys, cache.values, looks(cache, moves), x0, moves, s.noise(t))
        cache.advance()
        yield x0
        x0, last = _goes_on(x0, t, told), s.action(t)


def _packed(s: Setting) -> nn.Module:
    rows = 2 * s.world.model.place.shape[0]
    return pack(WholeFrame(s.world.model, s.world.tokenizer, s.sigmas, s.world.noise_scale), rows)


def _recipe(s: Setting) -> Recipe:
    name = str(s.dtype).removeprefix("torch.")
    return Recipe(s.world.path, s.world.sha256, s.steps, name, torch.get_num_threads(), tier=s.world.tier)


def _made(s: Setting, recipe: Recipe) -> Frame:
    if not recipe.path.exists():
        machine.build_world(s.world, recipe)
    code = machine.load(recipe, WholeFrame(s.world.model, s.world.tokenizer, s.sigmas, s.world.noise_scale))
    if isinstance(code, Written):
        code.threads = recipe.threads  # as told, and not as is best
    return code


class _Apart(WholeFrame):
    """A whole frame with a commit pass of its own."""

    def dream(self, first: Memory, rest: Memory, x0: Tensor, moves: Tensor, noise: Any) -> tuple[Tensor, Tensor]:
        known = self.modulations(moves)
        rotation = self.model.turned(moves)
        self.model.modulated(x0, [m[:, :1] for m in known], of_frame(rotation, 0), first)
        new = of_frame(rotation, 1)
        v = self.model.modulated(noise[0], [m[:, 1:2] for m in known], new, rest)
        return self.finish(v, noise, known, new, rest)


def _looks_apart(cache: KVCache, moves: Tensor) -> list[list[Tensor]]:
    n = cache.length
    looks = [cache.recall(cache.rings(n + i, 1).look, moves[:, i : i + 1], n + i) for i in range(moves.shape[1])]
    return [[one.view.ages, one.view.bias, one.write, one.whole] for one in looks]


def _built(s: Setting, kind: str, program: nn.Module, inputs: tuple[Any, ...]) -> Compiled:
    path: Path = cache_folder() / f"{_recipe(s).path.stem}-{kind}.so"
    if not path.exists():
        machine.build(program, inputs, path)
    return Compiled(path)


def _compiled_apart(s: Setting) -> Compiled:
    program = _Apart(s.world.model, s.world.tokenizer, s.sigmas, s.world.noise_scale)
    cache, inputs = s.begin()[0], machine.example(s.world, s.dtype, s.steps)
    inputs = inputs._replace(looks=_looks_apart(cache, inputs.moves))
    return _built(s, "apart", program, tuple(inputs))


class _Pass(nn.Module):
    """One pass, denoising or commit."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("near", torch.arange(model.config.sight.num_whole))  # type: ignore[union-attr, arg-type]

    def forward(
        self, keys: list[Tensor], values: list[Tensor], look: list[Tensor], xt: Tensor, sigma: Tensor, action: Tensor
    ) -> tuple[Tensor]:
        ages, bias, write, whole = look
        assert isinstance(self.near, Tensor)
        rings = Rings(keys, values, Look(View(ages, bias, self.near, None), write, whole))
        return (self.model(xt, sigma, action, rings).contiguous(),)


def _compiled_passes(s: Setting, told: Tensor | None) -> Frames:
    """The layout of two compiled functions, one to denoise and one to commit, with decoding beside."""
    cache, x0, last = s.begin()
    shape, level = torch.zeros(x0.shape), torch.zeros(1, 1)
    inputs = (cache.keys, cache.values, _looks_apart(cache, last)[0], shape, level, torch.zeros(last.shape))
    code = _built(s, "pass", _Pass(s.world.model), inputs)

    def velocity(xt: Tensor, sigma: Tensor, action: Tensor, memory: KVCache) -> Tensor:
        look = _looks_apart(memory, action)[0]
        return code(memory.keys, memory.values, look, xt.contiguous(), sigma, action)[0]

    commit_block(velocity, cache, x0, last)
    tokenizer = pack(s.world.tokenizer, s.world.model.place.shape[0])
    for t in itertools.count():
        x0 = denoise_block(velocity, cache, s.action(t), s.sigmas, s.noise(t).__getitem__, s.sampler)
        commit_block(velocity, cache, _goes_on(x0, t, told), s.action(t))
        tokenizer.decode(x0[0, 0])
        yield x0
