"""The whole road at toy size, each stage by its own command: the real game in, dreamed frames out."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import worldmodel
from train.load import load_model, load_tokenizer
from worldmodel import Action

pytest.importorskip("vizdoom")
pytestmark = [pytest.mark.game, pytest.mark.slow]

KEY_FRAMES = ["model.sight.window=3", "model.sight.far=2", "model.sight.every=2"]
SHORT = ["run.compile=false", "run.threads=1", "loop.preview_every=2"]


def road(folder):
    """train.world for a toy: every stage for a few steps, everything below `folder`."""
    data, runs, latents = folder / "data", folder / "runs", folder / "data/latents"
    tokenizer = f"tokenizer={runs}/tokenizer"
    dream = [f"latents={latents}", tokenizer, "preview.clips=2", "preview.given=3", "preview.frames=4", *SHORT]

    def lasting(stage, steps, batch):
        return [f"run.dir={runs}/{stage}", f"loop.steps={steps}", f"loop.batch={batch}"]

    overrides = {
        "collect": [f"out={data}", "episodes=3", "heldout=1", "steps=24", "workers=1"],
        "tokenizer": [
            f"data={data}", "frame_stride=1", "tokenizer.widths=[8,8,8]", "tokenizer.channels=6",
            *lasting("tokenizer", 4, 4), *SHORT,
        ],
        "latents": [f"data={data}", tokenizer, f"out={latents}"],
        "bidirectional": [
            f"latents={latents}", tokenizer, "clips.frames=8", "compass=true", *KEY_FRAMES, *SHORT,
            "preview={clips: 2, frames: 4, steps: 2}", *lasting("bidirectional", 2, 2),
        ],
        "teacher": [
            f"init={runs}/bidirectional", "clips.frames=8", "compass=true", *KEY_FRAMES, *dream, "preview.steps=2",
            "noise.own_chance=1.0", *lasting("teacher", 4, 2),
        ],
        "consistency": [
            f"teacher={runs}/teacher", "clips.frames=8", "noise.own_chance=1.0", "noise.own_depth=2",
            "noise.own_level=1.0", *dream, *lasting("consistency", 2, 2),
        ],
        "dmd": [
            f"student={runs}/consistency", f"real_score={runs}/bidirectional", "dmd.score=bidirectional",
            "dmd.given=2", "dmd.frames=3", "dmd.windows=2", "dmd.dreams=2", "dmd.critic_warmup=2", "dmd.opponent=0.5",
            "dmd.critic_steps=1", *dream, *lasting("dmd", 2, 2),
        ],
        "export": [
            f"student={runs}/dmd", f"teacher={runs}/teacher", tokenizer, f"data={data}",
            f"out={folder}/toy", "starts=2", "context=6",
        ],
    }  # fmt: skip
    text = ",".join(f"{stage}:[{','.join(map(repr, lines))}]" for stage, lines in overrides.items())
    shares = "{bidirectional: 0.1, tokenizer: 0.2, teacher: 0.4, consistency: 0.2, dmd: 0.1}"
    command = ["train.world", "model=debug", "budget=60", f"shares={shares}", f"overrides={{{text}}}"]
    return run(*command)


def run(module, *arguments):
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("road")
    return folder, road(folder)


def test_from_the_game_to_dreamed_frames(walked):
    folder, done = walked
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    for stage in ("tokenizer", "bidirectional", "teacher", "consistency", "dmd"):
        assert f"[{stage}] finished" in done.stderr
    world = worldmodel.load(folder / "toy")
    assert (world.size_hw, len(world.starts), world.actions.size, world.actions.told) == ((96, 128), 2, 9, 11)
    engine = worldmodel.Engine(world, device="cpu", seed=3)
    frames = [engine.reset(start=1)] + [engine.step(Action({"forward"}, (5.0, 0.0))) for _ in range(8)]
    assert all(f.shape == (96, 128, 3) and f.dtype == np.uint8 and f.std() > 1 for f in frames)
    assert (folder / "runs/dmd/preview-000000.png").is_file()  # of the student that it began with
    again = road(folder)  # finished stages answer at once
    assert again.returncode == 0
    assert again.stderr.count("already finished") == 5
    assert "already made" in again.stdout


def test_a_decoder_learns_and_leaves_the_latents_alone(walked):
    folder, _ = walked
    sizes = ["tokenizer.widths=[8,8,8]", "tokenizer.channels=6", "frame_stride=1", f"data={folder}/data"]
    learns = ["learns=decoder", f"init={folder}/toy", "loop.steps=3", "loop.batch=4", f"run.dir={folder}/runs/decoder",
              "discriminator.weight=0.1", "discriminator.width=4"]  # fmt: skip
    done = run("train.tokenizer", *sizes, *learns, *SHORT)
    assert done.returncode == 0, done.stderr[-4000:]
    before, after = worldmodel.load(folder / "toy").tokenizer, load_tokenizer(folder / "runs/decoder")
    frames = torch.randint(0, 256, (2, 96, 128, 3), dtype=torch.uint8)
    assert torch.equal(before.encode(frames), after.encode(frames))
    assert not torch.equal(before.decode(before.encode(frames)), after.decode(after.encode(frames)))
    sources = [f"student={folder}/toy", f"data={folder}/toy", f"tokenizer={folder}/runs/decoder", "teacher=null"]
    done = run("train.export", *sources, f"out={folder}/sharper")
    assert done.returncode == 0, done.stderr[-4000:]
    old, new = worldmodel.load(folder / "toy"), worldmodel.load(folder / "sharper")
    assert new.starts == old.starts
    assert torch.equal(new.start_frames, old.start_frames)
    assert torch.equal(new.tokenizer.encode(frames), old.tokenizer.encode(frames))
    kept, learnt = new.tokenizer.decoder[0].weight, after.decoder[0].weight
    assert torch.equal(kept.bfloat16(), learnt.bfloat16())
    refused = run("train.tokenizer", *sizes, "learns=decoder")
    assert refused.returncode != 0
    assert "init names a tokenizer" in refused.stderr


def test_a_student_may_begin_with_another(walked):
    folder, _ = walked
    data = [f"latents={folder}/data/latents", f"tokenizer={folder}/toy", "clips.frames=8", "loop.steps=1", *SHORT]
    own = [f"teacher={folder}/runs/teacher", f"run.dir={folder}/runs/other", "preview.clips=2", "preview.given=3"]
    learns = ["loop.batch=2", "preview.frames=4", "optimizer.lr=1e-8", "optimizer.muon_lr=1e-8"]
    since = f"since={folder}/runs/teacher"  # as it still is: nothing learnt to add
    done = run("train.consistency", *data, *own, *learns, f"student={folder}/toy", since)
    assert done.returncode == 0, done.stderr[-4000:]
    begun, given = load_model(folder / "runs/other", "model"), worldmodel.load(folder / "toy").model
    torch.testing.assert_close(begun.state_dict(), given.state_dict(), rtol=0, atol=1e-6)
    refused = run("train.consistency", *data, *own, *learns, since)
    assert refused.returncode != 0
    assert "say student=" in refused.stderr


def test_what_is_kept_of_a_run_is_its_averaged_network(walked):
    folder, _ = walked
    done = run("train.keep", f"run={folder}/runs/teacher", f"out={folder}/kept")
    assert done.returncode == 0, done.stderr[-4000:]
    assert "teacher of 4 steps" in done.stdout
    paths = folder / "kept", folder / "runs/teacher"
    ours, theirs = (load_model(path).state_dict() for path in paths)
    torch.testing.assert_close(ours, {name: weight.bfloat16().float() for name, weight in theirs.items()})
    small, whole = (sum(part.stat().st_size for part in (path / "checkpoint").iterdir()) for path in paths)
    assert small < whole / 3


def test_a_world_tells_what_fewer_passes_cost(walked):
    folder, _ = walked
    few = [f"world={folder}/toy", f"latents={folder}/data/latents", "clips=2", "given=3", "frames=4"]
    done = run("train.passes", *few, f"out={folder}/passes")
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.count("psnr_4") == 4
    assert len(list((folder / "passes").glob("*.png"))) == 4


def test_a_student_may_make_the_past_that_a_teacher_learns_from(walked):
    folder, runs = walked[0], f"{walked[0]}/runs"
    past = ["model=debug", f"dreamer={folder}/toy", "noise.own_chance=1.0", "noise.own_depth=2", "noise.own_level=1.0"]
    given = [f"latents={folder}/data/latents", f"tokenizer={runs}/tokenizer", "clips.frames=8", *KEY_FRAMES, *SHORT]
    short = ["preview={clips: 2, given: 3, frames: 4, steps: 2}", "loop.steps=1", "loop.batch=2"]
    done = run("train.teacher", *past, *given, *short, "compass=true", f"run.dir={runs}/mended")
    assert done.returncode == 0, done.stderr[-4000:]
    refused = run("train.teacher", *past, *given, *short, f"run.dir={runs}/unlike")
    assert refused.returncode != 0
    assert "the same tokenizer and compass=" in refused.stderr


def test_minutes_are_dreamt_in_several_ways(walked):
    folder, _ = walked
    short = [*TINY, "+tier.long={4: 2}", "seconds=4", "runs=2", f"reference={folder}/minutes"]
    ways = "ways=[{sigmas: [1], noise_scale: 1}, {sigmas: [1, 0.5], noise_scale: 1.1}]"
    done = run("train.drift", *short, f"world={folder}/toy", ways, f"out={folder}/drift")
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.count("of 2 (") == 3  # reality astray, and two ways
    assert done.stdout.count("standing still") == 2
    sheets = ["toy-1,0.5-at-1.1-still.png", "toy-1,0.5-at-1.1.png", "toy-1-at-1-still.png", "toy-1-at-1.png"]
    assert sorted(path.name for path in (folder / "drift").glob("*.png")) == sheets
    moving = run("train.drift", *short, f"world={folder}/toy", "still=false", f"out={folder}/moving")
    assert (moving.stdout.count("of 2 ("), moving.stdout.count("standing still")) == (2, 0), moving.stderr[-4000:]
    refused = run("train.drift", *short, f"world={folder}/toy", "seconds=60")
    assert refused.returncode != 0
    assert "no run of 60 s" in refused.stderr


def test_looks_away_and_back_are_dreamt_by_a_student_and_by_its_teacher(walked):
    folder, runs = walked[0], f"{walked[0]}/runs"
    short = [*TINY, "tier.looks=2", "tier.angles=[90]", f"reference={folder}/looks", f"out={folder}/memory"]
    for given in ([f"world={folder}/toy"], [f"run={runs}/teacher", f"tokenizer={folder}/toy", "euler=2"]):
        done = run("train.memory", *short, *given)
        assert done.returncode == 0, done.stderr[-4000:]
        assert done.stdout.count("90 degrees and back") == 1
        assert "of 2 looks" in done.stdout
    assert sorted(path.name for path in (folder / "memory").glob("*.png")) == ["teacher-90.png", "toy-90.png"]
    refused = run("train.memory", *short, f"world={folder}/toy", "tier.looks=0")
    assert refused.returncode != 0
    assert "has no looks" in refused.stderr


TINY = [
    "evaluation/tier=small", "tier.episodes={A: 2, B: 2, C: 0, D: 0}", "tier.horizon=15", "tier.branches=2",
    "tier.looks=0", "tier.long={60: 0, 300: 0}", "tier.piloted={60: 0, 300: 0}", "tier.diverse=[2,2,2]",
]  # fmt: skip


def test_from_a_world_to_its_report(walked):
    """The small tier at toy size, by its own commands, the judge of control included."""
    folder, _ = walked
    judge = [f"data={folder}/data", f"tokenizer={folder}/toy", f"run.dir={folder}/runs/inverse", *SHORT]
    told = run("train.inverse", *judge, "loop.steps=2", "loop.batch=4")
    assert told.returncode == 0, told.stderr[-4000:]
    given = [
        f"world={folder}/toy",
        f"inverse={folder}/runs/inverse/inverse.safetensors",
        f"teacher={folder}/runs/teacher",
    ]
    done = run("train.evaluate", *given, f"data={folder}/data", f"out={folder}/out", "teacher_steps=2", *TINY)
    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads((folder / "out/toy/report.json").read_text())
    assert (report["schema"], report["passed"]) == (3, False)
    assert report["about"]["manifest"] == json.loads((folder / "out/toy/manifest.json").read_text())["sha256"]
    assert report["about"]["absent"].keys() == {"C", "D", "E", "F"}
