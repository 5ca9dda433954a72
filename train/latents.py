"""Stage 3 of 9: episodes -> latent episodes, once. All later stages read these.

python -m train.latents game=doom_garden        reads data/doom_garden/, writes data/doom_garden/latents/
The same command again answers at once, unless the tokenizer or the episodes are others now.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

from train.cli import stage
from train.load import load_tokenizer
from worldmodel.config import typed
from worldmodel.data.episode import Episode, list_episodes, load_episode, read_json, write_json
from worldmodel.data.video import contact_sheet, save_image
from worldmodel.games import GameConfig
from worldmodel.tokenizer.autoencoder import Tokenizer
from worldmodel.tokenizer.loss import psnr


@dataclass(kw_only=True)
class Config:
    """See conf/latents.yaml."""

    game: GameConfig
    data: str
    tokenizer: str
    out: str
    shard_frames: int
    device: str


def encode(tokenizer: Tokenizer, episode: Episode, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """Latents float16 (T + 1, C, h, w), and the actions (T + 1, A) that led to them; the first is zero."""
    frames = torch.from_numpy(episode.frames()).split(128)
    with torch.autocast(device.type, torch.bfloat16):
        latents = torch.cat([tokenizer.encode(part.to(device)).cpu() for part in frames]).contiguous()
    actions = np.concatenate([np.zeros((1, episode.meta.action_space.size), np.float32), episode.action_vectors()])
    return latents.numpy().astype(np.float16), actions


def look(tokenizer: Tokenizer, out: Path, shards: dict[str, list[str]], episode: Episode, device: torch.device) -> None:
    """Decode the first cached episode beside its frames into preview.png; RuntimeError if they are not alike.

    A shard once held its numbers in another order than its shape said, and a teacher learnt them for an hour.
    """
    cached = load_file(out / shards["train"][0])["latents"][: episode.num_steps + 1]
    picks = np.linspace(0, episode.num_steps, 8).astype(int)
    decoded = tokenizer.decode(torch.from_numpy(cached[picks].astype(np.float32)).to(device)).cpu()
    real = torch.from_numpy(episode.frames()[picks])
    fresh = tokenizer.decode(tokenizer.encode(real.to(device))).cpu()
    save_image(out / "preview.png", contact_sheet([*real.numpy(), *decoded.numpy()], columns=8))
    if psnr(decoded, fresh).min() < 30:
        raise RuntimeError(f"{out}: the cache does not decode to its frames (see preview.png); delete it and try again")


def source(tokenizer: Tokenizer, paths: list[Path]) -> str:
    """Hash of all that latents are made from: what encodes, and names and lengths of the episodes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tokenizer.state_dict().items()):
        if "decode" not in name:  # a decoder may learn on, latents stay
            digest.update(name.encode() + tensor.detach().cpu().float().numpy().tobytes())
    for path in paths:
        digest.update(f"{path.name} {read_json(path / 'meta.json')['num_steps']}\n".encode())
    return digest.hexdigest()


def is_made(out: Path, made_from: str) -> bool:
    """Whether a whole cache of this source lies in out: its index is written last."""
    index = out / "latents.json"
    if not index.exists():
        return False
    info = read_json(index)
    names = [name for names in info["shards"].values() for name in names]
    return info.get("made_from") == made_from and all((out / name).exists() for name in names)


@stage("latents")
def main(raw: DictConfig) -> None:
    """Encode every episode; shards of a split follow each other in the order of the episodes' names."""
    cfg = typed(Config, raw)
    device = torch.device(
        "cuda" if cfg.device == "auto" and torch.cuda.is_available() else cfg.device.replace("auto", "cpu")
    )
    tokenizer = load_tokenizer(cfg.tokenizer).to(device)
    out = Path(cfg.out)
    out.mkdir(parents=True, exist_ok=True)
    paths = list_episodes(cfg.data)
    made_from = source(tokenizer, paths)
    if is_made(out, made_from):
        print(f"{out}: already made from these episodes by this tokenizer", flush=True)
        return
    (out / "latents.json").unlink(missing_ok=True)
    splits: dict[str, list[Path]] = {"train": [], "heldout": []}
    for path in paths:
        splits[read_json(path / "meta.json")["split"]].append(path)
    shards: dict[str, list[str]] = {}
    with tqdm(total=len(paths), unit=" episodes", mininterval=5) as bar:
        for split, members in splits.items():
            shards[split] = []
            group: list[tuple[np.ndarray, np.ndarray]] = []
            for path in members:
                group.append(encode(tokenizer, load_episode(path), device))
                bar.update()
                if sum(len(latents) for latents, _ in group) >= cfg.shard_frames or path == members[-1]:
                    name = f"{split}-{len(shards[split]):03d}.safetensors"
                    latents, actions = (np.concatenate(parts) for parts in zip(*group, strict=True))
                    lengths = np.asarray([len(part) for part, _ in group])
                    save_file({"latents": latents, "actions": actions, "lengths": lengths}, out / name)
                    shards[split].append(name)
                    group = []
    meta = load_episode(paths[0]).meta
    info = {
        "shards": shards, "fps": meta.fps, "size_hw": list(meta.size_hw), "action_space": meta.action_space.to_json(),
        "tokenizer": str(cfg.tokenizer), "licence": meta.licence, "game": meta.game,
        "players": {split: [read_json(p / "meta.json")["player"] for p in eps] for split, eps in splits.items()},
        "made_from": made_from,
    }  # fmt: skip
    write_json(out / "latents.json", info)
    look(tokenizer, out, shards, load_episode(splits["train"][0]), device)


if __name__ == "__main__":
    main()
