"""Whatever is wrong is one line that says what to do, an exit code, and nothing lost."""

import pytest
import torch
from test_play import command, recording  # noqa: F401
from test_session import FakeEnv

import play
import worldmodel
from worldmodel.backends.place import device_of
from worldmodel.data.episode import load_episode
from worldmodel.data.writer import EpisodeWriter
from worldmodel.ui.window import Window


def unreadable_picture(tmp_path):
    (tmp_path / "own.png").write_bytes(b"no picture")
    return ["start=own.png"]


def recording_of_another_world(tmp_path):
    recording(tmp_path / "tape", FakeEnv(), source="dream", world_sha256="1" * 64)
    return ["replay=tape/000000", "verify=true"]


def damaged(name, text):
    def make(tmp_path):
        recording(tmp_path / "tape")
        (tmp_path / "tape" / "000000" / name).write_text(text)
        return ["replay=tape/000000"]

    return make


def file_of(name, text, *arguments):
    return lambda tmp_path: ((tmp_path / name).write_text(text), list(arguments))[1]


BAD = {
    "an unknown world": (lambda tmp_path: ["world=atlantis"], "atlantis"),
    "a file that is no world": (file_of("a.world", "hello", "world=a.world"), "a.world"),
    "a folder that is no world": (lambda tmp_path: [f"world={tmp_path}"], "lacks"),
    "an unreadable picture": (unreadable_picture, "own.png"),
    "a recording of another world": (recording_of_another_world, "another world"),
    "a recording without actions": (damaged("actions.jsonl", "["), "000000"),
    "a recording with a wrong meta": (damaged("meta.json", "{}"), "meta.json"),
    "no recording": (lambda tmp_path: [f"replay={tmp_path}"], "meta.json"),
    "a wrong file of settings": (file_of("settings.json", "["), "settings.json"),
    "a file where films cannot go": (lambda tmp_path: ["out=/dev/full/a.mp4"], "/dev/full"),
    "a film of an unknown kind": (lambda tmp_path: ["out=a.avi"], ".mp4, .gif or .png"),
    "an unknown device": (lambda tmp_path: ["device=abacus"], "abacus"),
    "a device that is not there": (lambda tmp_path: ["device=mps"], "Apple"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_line_that_names_it(command, monkeypatch, tmp_path, what):  # noqa: F811
    make, word = BAD[what]
    if "world" in what and "recording" not in what:
        monkeypatch.undo()
        monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
        monkeypatch.chdir(tmp_path)
    if "device" in what:
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        monkeypatch.setattr(worldmodel, "Engine", lambda world, device, *args, **how: device_of(device), raising=False)
    code, _, err = command("headless=true", "seconds=0.1", *make(tmp_path))
    assert (code, len(err)) == (2, 1)
    assert word in err[0]


@pytest.mark.parametrize("is_windowed", [True, False])
def test_a_full_disk_stops_the_recording_keeps_what_is_there_and_is_an_error_at_the_end(
    command,  # noqa: F811
    monkeypatch,
    tmp_path,
    is_windowed,
):
    write, count = EpisodeWriter.add, []

    def add(writer, *step, **extra):
        count.extend([1] * writer.meta.has_pictures)
        if len(count) > 40:  # then the log of the run finds the disk full as well
            raise OSError(28, "No space left on device")
        write(writer, *step, **extra)

    monkeypatch.setattr(EpisodeWriter, "add", add)
    if is_windowed:
        monkeypatch.setattr(play, "has_display", lambda: True)
        monkeypatch.setattr(play, "Window", lambda *args: Window(*args, allow_headless=True))
    code, out, err = command("record=true", "frames=80", "pace=uncapped", "out=a.mp4")
    assert (code, len(err)) == (2, 1)
    assert "recording stopped: [Errno 28] No space left on device" in err[0]
    assert "Make room" in err[0]
    assert any("80 frames" in line for line in out)
    assert load_episode(tmp_path / "recordings/fake/000000").num_steps >= 24
