"""Where a world's dreams begin: moments of recorded play with much to see.

choose_starts   the moments
is_cut          whether play is cut somewhere in a film
"""

from __future__ import annotations

import numpy as np
import torch

from worldmodel.data.clips import DatasetError
from worldmodel.data.episode import Episode, list_episodes, load_episode
from worldmodel.tokenizer.loss import sharpness

EVERY = 150  # steps between moments
BESIDE = 2  # frames to either side in which a picture is to be calm
BEST = 0.2  # share of the calm moments, those with most to see
AHEAD = 100  # frames after a start in which play is not cut
CUT = 20.0  # grey levels from one frame to the next


def choose_starts(data: str, number: int, context: int, players: list[str] | None) -> list[tuple[Episode, int]]:
    """Moments of training play with much to see, of these players (None: of all).

    Of the calmer half, by what changes from frame to frame (flashes and explosions hide the place), and of that the
    fifth (half, where they are few) with the most colours (the exponential of their entropy) and edges, the best one;
    then those whose pictures differ most from all chosen (farthest points). After none of them play is cut soon, if
    there are such: where a level ends, a dream cannot know the next. DatasetError if these players played no training
    episode.
    """
    moments: list[tuple[Episode, int]] = []
    thumbnails, appeal, unrest = [], [], []
    for path in list_episodes(data):
        episode = load_episode(path)
        if episode.meta.split != "train" or len(moments) >= 1000 or (players and episode.meta.player not in players):
            continue
        for t in range(context, episode.num_steps - BESIDE, EVERY):
            film = episode.frames(t - BESIDE, 2 * BESIDE + 1)
            frame = film[BESIDE : BESIDE + 1]
            cells = frame[0].astype(np.float32).reshape(8, frame.shape[1] // 8, 8, frame.shape[2] // 8, 3).mean((1, 3))
            moments.append((episode, t))
            thumbnails.append(cells.ravel())
            _, counts = np.unique(cells.reshape(-1, 3) // 48, axis=0, return_counts=True)  # pixels by coarse colour
            colours = np.exp(-np.sum(counts / counts.sum() * np.log(counts / counts.sum())))
            appeal.append(colours * sharpness(torch.from_numpy(frame)).item())
            unrest.append(changes(film).max())
    if not moments:
        raise DatasetError(f"{data}: no training episode to start in, of players {players or 'of any kind'}")
    pictures, worth = np.stack(thumbnails), np.array(appeal)
    chosen: list[int] = []
    score = worth.copy()
    is_left = np.array(unrest) <= np.median(unrest)
    best_share = min(0.5, max(BEST, 2 * number / is_left.sum()))
    is_left &= worth >= np.quantile(worth[is_left], 1 - best_share)
    while len(chosen) < number:
        best = int((score * is_left if is_left.any() else score).argmax())
        episode, t = moments[best]
        is_fit = not is_left.any() or not is_cut(episode.frames(t, min(AHEAD, episode.num_steps + 1 - t)))
        is_left[best] = False
        if is_fit:
            chosen.append(best)
            score = np.min([np.linalg.norm(pictures - pictures[i], axis=1) for i in chosen], axis=0)
    return [moments[i] for i in chosen]


def is_cut(frames: np.ndarray) -> bool:
    """Whether a picture of uint8 (T, H, W, 3) has little to do with the one before, unlike those beside it."""
    change = changes(frames)
    beside = np.maximum(np.r_[0.0, change[:-1]], np.r_[change[1:], 0.0])
    return bool(((change > CUT) & (change > 2.5 * beside)).any())


def changes(frames: np.ndarray) -> np.ndarray:
    """Mean change of a pixel from each frame of uint8 (T, H, W, 3) to the next, (T - 1,) grey levels."""
    return np.abs(np.diff(frames[:, ::4, ::4].astype(np.int16), axis=0)).mean((1, 2, 3))
