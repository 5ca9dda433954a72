"""Calls of malloc a frame, by backend: WORLD [DTYPE], with counter.c loaded before all else. Run by test_written.py."""

import ctypes
import json
import sys

import torch

import worldmodel
from worldmodel.backends.compiled import Compiled, Recipe, example, load, recipe_for
from worldmodel.backends.frame import WholeFrame
from worldmodel.backends.packed import pack

FRAMES = 50
calls_so_far = ctypes.CDLL(None).calls_so_far
calls_so_far.restype = ctypes.c_long


def calls(work):
    """Of work(), FRAMES times, a time."""
    for _ in range(5):
        work()
    before = calls_so_far()
    for _ in range(FRAMES):
        work()
    return (calls_so_far() - before) / FRAMES


@torch.inference_mode()
def main(path, dtype="float32"):
    torch.set_num_threads(1)
    world, kind = worldmodel.load(path), getattr(torch, dtype)
    inputs = example(world, kind, 2)
    whole = WholeFrame(world.model, world.tokenizer.to(kind), world.sigmas[2], world.noise_scale)
    code = load(recipe_for(world, 2, kind, 1), whole)
    given = [*inputs.keys, *inputs.values, *inputs.looks[0], *inputs.looks[1], *inputs[3:]]
    given.append(code._rotation(inputs.moves))
    pointers = (ctypes.c_void_p * len(given))(*[u.data_ptr() for u in given])
    latent, picture = torch.empty(code._latent), torch.empty(code._picture, dtype=torch.uint8)
    inside = (code._frame, pointers, latent.data_ptr(), picture.data_ptr())
    packed = pack(whole, 2 * world.model.place.shape[0])
    found = {
        "inside a frame": calls(lambda: code._run(*inside)), "written, with its outputs": calls(lambda: code(*inputs)),
        "eager, a frame": calls(lambda: packed(*inputs)),
    }  # fmt: skip
    code.threads = 2
    found["inside a frame, on two threads"] = calls(lambda: code._run(*inside))
    torchs = Recipe(world.path, world.sha256, 2, dtype, 1).path
    if torchs.exists():
        made = Compiled(torchs)
        found["compiled by torch"] = calls(lambda: made(*inputs))
    print(json.dumps(found))


main(*sys.argv[1:])
