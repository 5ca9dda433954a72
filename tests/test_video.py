import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from worldmodel.data.video import (
    VideoError,
    VideoWriter,
    contact_sheet,
    count_frames,
    load_image,
    read_video,
    save_gif,
    save_image,
    save_webp,
    video_shape,
)

T, H, W = 61, 24, 40


def smooth(num_frames=T):
    """A slowly moving wave, (T, H, W, 3)."""
    t, y, x = np.mgrid[0:num_frames, 0:H, 0:W]
    wave = 128 + 90 * np.sin((x + y)[..., None] / 12 + t[..., None] / 10 + np.arange(3) / 3)
    return wave.astype(np.uint8)


def record(path, frames, fps=35.0):
    writer = VideoWriter(path, fps, frames.shape[1:3])
    for frame in frames:
        writer.write(frame)
    writer.close()
    writer.close()
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return record(tmp_path_factory.mktemp("video") / "a.mp4", smooth())


def test_smooth_frames_come_back_above_30_db(video):
    error = read_video(video).astype(float) - smooth()
    assert read_video(video).dtype == np.uint8
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 30


@pytest.mark.parametrize("fps", [1.0, 10.0, 17.5, 29.97, 60.0])
def test_any_clip_equals_the_same_frames_of_a_whole_read(tmp_path, fps):
    path = record(tmp_path / "a.mp4", smooth(), fps)
    whole = read_video(path)
    for first, count in (
        (0, 1),
        (1, 7),
        (15, 2),
        (16, 16),
        (17, 30),
        (T - 1, 1),
        (T - 3, 9),
        (T, 4),
        (5, None),
        (3, 0),
    ):
        expected = whole[first:] if count is None else whole[first : first + count]
        np.testing.assert_array_equal(read_video(path, first, count), expected)
    assert video_shape(path) == whole.shape == (T, H, W, 3)


def test_a_torn_file_gives_its_whole_frames_and_loses_little(video, tmp_path):
    data, whole, torn = video.read_bytes(), read_video(video), tmp_path / "torn.mp4"
    for cut in range(len(data) // 3, len(data), len(data) // 23):
        torn.write_bytes(data[:cut])
        frames = read_video(torn)
        assert len(frames) == count_frames(torn) > T * cut / len(data) - 35
        np.testing.assert_array_equal(frames, whole[: len(frames)])
        np.testing.assert_array_equal(read_video(torn, 3, 5), whole[: len(frames)][3:8])


def test_a_killed_writer_loses_at_most_a_second(tmp_path):
    code = """
import os, signal, sys
from test_video import H, VideoWriter, W, smooth
writer = VideoWriter(sys.argv[1], 12.5, (H, W))
for frame in smooth(50):
    writer.write(frame)
os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "killed.mp4"
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    died = subprocess.run([sys.executable, "-c", code, str(path)], check=False, env=os.environ | {"PYTHONPATH": paths})
    assert died.returncode == -signal.SIGKILL
    assert 50 - 12.5 <= count_frames(path) == len(read_video(path)) < 50


def test_no_b_frames_and_a_key_frame_every_16(video):
    import av

    with av.open(str(video)) as container:
        frames = list(container.decode(video=0))
    assert av.video.frame.PictureType.B not in [frame.pict_type for frame in frames]
    assert max(np.diff([i for i, frame in enumerate(frames) if frame.key_frame])) == 16


def test_odd_sizes_and_wrong_frames_are_refused(tmp_path):
    with pytest.raises(ValueError, match="even"):
        VideoWriter(tmp_path / "a.mp4", 10, (H, W + 1))
    writer = VideoWriter(tmp_path / "a.mp4", 10, (H, W))
    for wrong in (np.zeros((W, H, 3), np.uint8), np.zeros((H, W, 3), np.float32)):
        with pytest.raises(ValueError, match="expected a uint8 frame"):
            writer.write(wrong)
    writer.close()


def test_unreadable_files_are_named(tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video" * 40)
    for path in (broken, tmp_path / "missing.mp4"):
        with pytest.raises(VideoError, match=path.name):
            read_video(path)
        with pytest.raises(VideoError, match=path.name):
            load_image(path)
    with pytest.raises(VideoError, match="folder"):
        VideoWriter(tmp_path / "none" / "a.mp4", 10, (H, W))


def test_a_png_is_exact_and_a_grey_one_becomes_rgb(tmp_path):
    frame = smooth(1)[0]
    save_image(tmp_path / "a.png", frame)
    np.testing.assert_array_equal(load_image(tmp_path / "a.png"), frame)
    save_image(tmp_path / "grey.png", frame[:, :, 0])
    assert load_image(tmp_path / "grey.png").shape == (H, W, 3)


def test_a_gif_holds_all_frames_at_their_pace(tmp_path):
    import imageio.v3 as iio

    save_gif(tmp_path / "a.gif", list(smooth(7)), fps=20)
    assert iio.imread(tmp_path / "a.gif").shape == (7, H, W, 3)
    assert iio.immeta(tmp_path / "a.gif")["duration"] == 50


def test_a_webp_holds_all_frames(tmp_path):
    import imageio.v3 as iio

    save_webp(tmp_path / "a.webp", list(smooth(7)), fps=20)
    assert len(list(iio.imiter(tmp_path / "a.webp", plugin="pillow"))) == 7


def test_a_contact_sheet_shows_each_frame_in_reading_order():
    frames = smooth(5)
    sheet = contact_sheet(list(frames), columns=3, scale=2, gap=4)
    assert sheet.shape == (2 * (2 * H + 4) - 4, 3 * (2 * W + 4) - 4, 3)
    np.testing.assert_array_equal(sheet[2 * H + 4 :: 2, 2 * W + 4 : 4 * W + 4 : 2], frames[4])
    assert sheet[:, -2 * W :][2 * H + 4 :].max() == 0
