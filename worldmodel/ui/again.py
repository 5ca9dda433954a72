"""A recording, or the log of a run, made again.

opening_of   what is played before the player: a recording up to a frame, or a script
verify       make it again and compare every frame

Not here: how the world is opened (venue.py), how frames are compared (data/replay.py).
"""

from __future__ import annotations

from collections.abc import Callable

from worldmodel.data.episode import load_episode
from worldmodel.data.replay import Replay, begin_again, first_difference
from worldmodel.env import Env
from worldmodel.ui.control import Opening
from worldmodel.ui.options import parse_script

TELL_S, TELL_SHARE = 10.0, 0.1  # of what was made again between two lines about it: the longer of the two


class ReplayError(ValueError):
    """A recording that is not what the world makes now."""


def opening_of(env: Env, script: str, replay: str | None, branch_at: int | None) -> Opening:
    """What is played before the player takes over: a script, or a recording as far as branch_at (None: all of it)."""
    if script:
        return Opening([(action, None) for action in parse_script(script, env.actions)])
    if not replay or isinstance(env, Replay):
        return Opening(())
    episode = load_episode(replay)
    until = episode.num_steps if branch_at is None else branch_at
    if not 0 <= until <= episode.num_steps:
        raise ReplayError(f"{replay}: no frame {until}; it has frames 0 to {episode.num_steps}")
    moves = list(zip(episode.actions, episode.sampling_steps, strict=True))[:until]
    return Opening(moves, lambda env: begin_again(env, episode), is_fast=branch_at is not None)


def verify(replay: str, env: Env, tell: Callable[[str], None]) -> str:
    """Make a recording again in its world and compare every frame; gives a line about it, and `tell` gets some on the
    way. ReplayError names the first that differs.
    """
    episode = load_episode(replay)
    every = max(1, round(TELL_S * env.fps), round(TELL_SHARE * episode.num_steps))
    t = first_difference(
        env, episode, lambda t: tell(f"{t} of {episode.num_steps} frames equal") if t % every == 0 else None
    )
    if t is not None:
        at = f"frame {t} ({t / env.fps:.1f} s)"
        raise ReplayError(f"{replay}: {at} is the first that differs. Another machine, torch or version made it.")
    return f"{replay}: all {episode.num_steps + 1} frames made again, byte by byte"
