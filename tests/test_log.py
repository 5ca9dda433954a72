"""Every run writes what was pressed and its seed, and can be made again from that."""

from types import SimpleNamespace

import pytest
from test_play import command  # noqa: F401
from test_recorder import Counter, RewindableCounter, press
from test_session import FakeEnv, window  # noqa: F401
from test_session import play as play_session

import play
from worldmodel.action import Action
from worldmodel.data import writer
from worldmodel.data.episode import load_episode
from worldmodel.data.recorder import Recorder
from worldmodel.data.video import read_video
from worldmodel.ui.window import Window
from worldmodel.venue import _kind


def log_of(env, folder):
    log = Recorder(env, folder, source="real", game="counter", extra={"pictures": False}, sampler={"backend": "eager"})
    log.start()
    return log


@pytest.mark.parametrize("is_windowed", [True, False])
def test_every_run_can_be_made_again(command, monkeypatch, tmp_path, is_windowed):  # noqa: F811
    monkeypatch.setattr(play, "has_display", lambda: is_windowed)
    monkeypatch.setattr(play, "Window", lambda *args: Window(*args, allow_headless=True))
    assert command("frames=12", "seed=5", "pace=uncapped")[0] == 0
    meta = load_episode(tmp_path / "plays/fake/000000").meta
    assert (meta.num_steps, meta.seed, meta.has_pictures) == (12, 5, False)
    code, out, err = command("replay=plays/fake/000000", "verify=true")
    assert (code, err) == (0, [])
    assert out[-1].endswith("all 13 frames made again, byte by byte")


def test_a_run_is_seen_again_by_making_it_again(command, monkeypatch, tmp_path):  # noqa: F811
    assert command("frames=12")[0] == 0
    assert command("replay=plays/fake/000000", "headless=true", "out=a.mp4")[0] == 0
    assert len(read_video(tmp_path / "a.mp4")) == 13
    monkeypatch.setattr(play, "has_display", lambda: True)
    monkeypatch.setattr(play, "Window", lambda *args: Window(*args, allow_headless=True))
    code, out, _ = command("replay=plays/fake/000000", "frames=14", "pace=uncapped")
    assert code == 0
    assert "frame 12: yours from here" in out


@pytest.mark.parametrize(
    ("source", "game", "kind"), [("dream", "doom", "dream"), ("real", "doom", "real"), ("dream", "doom-both", "both")]
)
def test_a_recording_is_made_again_by_what_made_it(source, game, kind):
    """One of the real game beside the dream was compared with the dream alone, and differed at frame 0."""
    assert _kind(SimpleNamespace(meta=SimpleNamespace(source=source, game=game))) == kind


def test_nothing_is_written_where_no_log_is_wished(command, tmp_path):  # noqa: F811
    assert command("frames=3", "plays=null")[0] == 0
    assert not (tmp_path / "plays").exists()


def test_other_code_begins_another_log_and_no_step_is_lost(tmp_path):
    log = log_of(RewindableCounter(), tmp_path)
    log.reset()
    press(log, 3)
    log.part("code", {"backend": "compiled:2"})
    press(log, 4)
    log.close()
    before, after = (load_episode(tmp_path / name) for name in ("000000", "000001"))
    assert (before.num_steps, after.num_steps) == (3, 4)
    assert [e.meta.sampler["backend"] for e in (before, after)] == ["eager", "compiled:2"]
    assert after.checksums[0] == before.checksums[-1]
    assert (after.path / "states/start.save").exists()


def test_the_newest_logs_are_kept_and_recordings_never_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "KEPT_LOGS", 3)
    film = Recorder(Counter(), tmp_path, source="real", game="counter")
    log = log_of(Counter(), tmp_path)
    for env in (film, *[log] * 5):
        env.start()
        env.reset()
        press(env, 1)
        env.stop()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000", "000003", "000004", "000005"]


def test_a_recording_around_the_log_knows_the_sampling_steps(tmp_path):
    log = Recorder(FakeEnv(), tmp_path / "log", source="dream", game="fake", extra={"pictures": False})
    env = Recorder(log, tmp_path / "film", source="dream", game="fake")
    log.start()
    env.start()
    env.reset()
    for _ in range(2):
        env.step(Action({"forward"}))
    env.close()
    log.stop()
    assert [load_episode(tmp_path / name / "000000").sampling_steps for name in ("log", "film")] == [(2, 2)] * 2


def test_a_log_that_cannot_be_written_is_told_once_and_play_goes_on(window, tmp_path):  # noqa: F811
    (tmp_path / "log").write_text("a file stands where the folder should")
    log = Recorder(FakeEnv(), tmp_path / "log", source="dream", game="fake", extra={"pictures": False})
    log.start()
    env = Recorder(log, tmp_path / "film", source="dream", game="fake")
    _, session, said = play_session(window, env=env)
    assert session.runner.stats.num_frames == 12
    assert len([line for line in said if "is not kept" in line]) == 1
