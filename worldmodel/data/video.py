"""Frames <-> video and image files; the one door to PyAV and imageio.

VideoWriter                        frames -> an mp4 that survives a killed process
read_video                         exact clips from any place of a video
count_frames, video_shape          what a video holds, without decoding it
save_image, load_image, save_gif   single pictures and short loops
contact_sheet                      many frames -> one picture

Not here: actions and meta (episode.py), when to write (recorder.py).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

MAX_GOP = 16  # a clip of 16 frames costs 4.5 CPU ms at 16, 9.2 ms at 250, and 1 % of size against 32 (measured)
MAX_LOOKAHEAD = 10  # frames; what x264's preset veryfast takes


class VideoError(ValueError):
    """A video or picture that cannot be read or written; the message is one line and says what to do."""


class VideoWriter:
    """Write frames to a fragmented mp4: H.264 yuv420p, constant fps, a key frame at least every second, no B-frames.

    fps       frames a second, > 0; need not be whole (17.5)
    size_hw   even numbers, because yuv420p shares one colour among 2 x 2 pixels; ValueError otherwise
    crf       x264 quality: 0 lossless up to 51; 15 is hard to tell from the source

    A process killed at any moment leaves a file that read_video reads and that lacks the last second at most.
    Raises VideoError when the file cannot be opened or written (folder missing, disk full).
    """

    def __init__(self, path: str | Path, fps: float, size_hw: tuple[int, int], crf: int = 15) -> None:
        import av

        self.path, self.size_hw = Path(path), (int(size_hw[0]), int(size_hw[1]))
        if min(self.size_hw) < 2 or self.size_hw[0] % 2 or self.size_hw[1] % 2:
            raise ValueError(f"{path}: H.264 needs even frame sizes, got {self.size_hw}. Crop or resize the frames.")
        if fps <= 0:
            raise ValueError(f"{path}: fps must be > 0, got {fps}")
        rate = Fraction(fps).limit_denominator(1000)
        gop = max(1, min(MAX_GOP, int(fps)))
        lookahead = min(MAX_LOOKAHEAD, max(0, int(fps) - gop - 1))  # a killed process loses gop + lookahead, and one
        with _speaking(self.path, "write"):
            # flush_packets: without it the last 30 KB wait in a buffer that dies with the process
            movflags = "frag_keyframe+empty_moov+default_base_moof"
            options = {"movflags": movflags, "flush_packets": "1"}
            self._container: Any = av.open(str(self.path), "w", format="mp4", options=options)
            stream = self._stream = self._container.add_stream("libx264", rate=rate)
            stream.height, stream.width = self.size_hw
            stream.pix_fmt = "yuv420p"
            stream.time_base = stream.codec_context.time_base = 1 / rate
            stream.codec_context.gop_size = gop
            stream.codec_context.thread_count = 1
            stream.options = {"preset": "veryfast", "crf": str(crf), "bf": "0", "rc-lookahead": str(lookahead)}
            self._container.start_encoding()  # now, not at the first frame: a wrong path is found here
        self._num_written = 0

    def write(self, frame: np.ndarray) -> None:
        """Append one frame, uint8 (H, W, 3). ValueError for another shape or type, VideoError if writing fails."""
        import av

        if self._container is None:
            raise ValueError(f"{self.path}: the video is closed")
        if frame.shape != (*self.size_hw, 3) or frame.dtype != np.uint8:
            got = f"{frame.dtype} {frame.shape}"
            raise ValueError(f"{self.path}: expected a uint8 frame of shape {(*self.size_hw, 3)}, got {got}")
        with _speaking(self.path, "write"):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture.pts, picture.time_base = self._num_written, self._stream.codec_context.time_base
            self._container.mux(self._stream.encode(picture))
        self._num_written += 1

    def close(self) -> None:
        """Write what the encoder still holds and close the file; closing twice is allowed."""
        if self._container is None:
            return
        container, self._container = self._container, None
        with _speaking(self.path, "write"):
            try:
                if self._num_written:
                    container.mux(self._stream.encode(None))
            finally:
                container.close()


def read_video(path: str | Path, first: int = 0, count: int | None = None) -> np.ndarray:
    """Frames first .. first + count - 1 of a constant-rate video, uint8 (T, H, W, 3); all that follow if count is None.

    Bit-equal to the same frames of a read from the start. Like a slice, T is smaller where the video ends earlier;
    a torn tail counts as the end. VideoError if the file is missing or no video.
    """
    if first < 0 or (count is not None and count < 0):
        raise ValueError(f"{path}: first and count must be >= 0, got {first} and {count}")
    from av.video.reformatter import VideoReformatter

    to_rgb = VideoReformatter()
    with _opened(Path(path)) as (container, stream):
        frames = []
        if count != 0:
            for frame in _decoded_from(container, stream, first):
                frames.append(to_rgb.reformat(frame, format="rgb24").to_ndarray())
                if len(frames) == count:
                    break
        return np.stack(frames) if frames else np.zeros((0, stream.height, stream.width, 3), np.uint8)


def count_frames(path: str | Path) -> int:
    """The number of whole frames, by reading packets without decoding. VideoError as read_video."""
    return video_shape(path)[0]


def video_shape(path: str | Path) -> tuple[int, int, int, int]:
    """The shape (T, H, W, 3) of read_video(path), without decoding. VideoError as read_video."""
    with _opened(Path(path)) as (container, stream):
        return sum(1 for _ in _whole_packets(container, stream)), stream.height, stream.width, 3


def _decoded_from(container: Any, stream: Any, first: int) -> Iterator[Any]:
    """Decoded frames from index `first` on; the index of a frame is its time times the rate."""
    rate = stream.average_rate or stream.guessed_rate
    if not rate:
        return  # not one whole frame
    origin = stream.start_time or 0
    if first:
        container.seek(origin + int(first / rate / stream.time_base), stream=stream, backward=True)
    is_sought = first > 0
    for frame in _decoded(container, stream):
        index = round((frame.pts - origin) * stream.time_base * rate)
        if is_sought and index > first:  # the file's index had no key frame early enough: read from the start
            container.seek(origin, stream=stream, backward=True)
            yield from (
                f for f in _decoded(container, stream) if (f.pts - origin) * stream.time_base * rate > first - 0.5
            )
            return
        is_sought = False
        if index >= first:
            yield frame


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    """Frames from here to the end of the video or to the first damaged one."""
    import av

    try:
        for packet in _whole_packets(container, stream):
            yield from stream.decode(packet)
        yield from stream.decode(None)
    except (av.error.InvalidDataError, av.error.EOFError):
        return


def _whole_packets(container: Any, stream: Any) -> Iterator[Any]:
    """Packets of the stream from here on, up to a torn one."""
    import av

    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                return
            if packet.pts is not None:  # the last packet of a demuxer is an empty flush
                yield packet
    except (av.error.InvalidDataError, av.error.EOFError):
        return


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """A container and its video stream, single-threaded: a clip is too short to pay for threads."""

    with _speaking(path, "read"):
        if not path.is_file():
            raise VideoError(f"{path}: no such video. Check the path.")
        with _open_whole(path) as container:
            if not container.streams.video or container.streams.video[0].codec_context is None:
                raise VideoError(f"{path}: the file holds no video. Record or convert it again.")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            yield container, stream


def _open_whole(path: Path) -> Any:
    """av.open, and for an mp4 that was torn inside a fragment's header, its bytes before that fragment."""
    import av

    try:
        return av.open(str(path))
    except (av.error.InvalidDataError, av.error.EOFError):
        data = path.read_bytes()
        at = end = 0
        while at + 8 <= len(data):  # the boxes of an mp4: four bytes of size, four of name
            size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
            if size < 8:
                raise
            at += size
            end = min(at, len(data)) if name == b"mdat" else end
        if end == 0:
            raise
        return av.open(io.BytesIO(data[:end]))


@contextmanager
def _speaking(path: Path, verb: str) -> Iterator[None]:
    """Turn the library's errors into a VideoError that names the file and the remedy."""
    import av

    remedies = {"read": "It is damaged or no video: restore or delete it.", "write": "Check the folder and free space."}
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoError(f"{path}: cannot {verb} the video ({reason}). {remedies[verb]}") from error


def save_image(path: str | Path, frame: np.ndarray) -> None:
    """Write one frame, uint8 (H, W, 3); the ending of the path (.png, .jpg) chooses the format."""
    import imageio.v3 as iio

    iio.imwrite(path, frame, plugin="pillow")


def load_image(path: str | Path) -> np.ndarray:
    """A picture as uint8 (H, W, 3); grey and transparent ones become RGB. VideoError if it is none."""
    import imageio.v3 as iio

    try:
        return iio.imread(path, plugin="pillow", mode="RGB")
    except (OSError, ValueError, SyntaxError) as error:  # Pillow reports a broken PNG as a SyntaxError
        raise VideoError(f"{path}: cannot read the picture. Check that it exists and is a png or jpg.") from error


def save_gif(path: str | Path, frames: Sequence[np.ndarray] | np.ndarray, fps: float) -> None:
    """Write frames, uint8 (T, H, W, 3), as an endless gif; a gif counts time in hundredths of a second."""
    import imageio.v3 as iio

    iio.imwrite(path, np.stack(list(frames)), plugin="pillow", extension=".gif", duration=1000 / fps, loop=0)


def save_webp(path: str | Path, frames: Sequence[np.ndarray] | np.ndarray, fps: float) -> None:
    """Write frames, uint8 (T, H, W, 3), as an endless animated WebP: a tenth of a gif, for pages that hold many."""
    import imageio.v3 as iio

    film = np.stack(list(frames))
    iio.imwrite(path, film, plugin="pillow", extension=".webp", duration=round(1000 / fps), loop=0, quality=85)


def contact_sheet(frames: Sequence[np.ndarray], columns: int, scale: int = 1, gap: int = 2) -> np.ndarray:
    """Frames of one size in rows of `columns`, left to right, on black: uint8 (rows (sH + gap) - gap, ..., 3).

    frames  uint8 (H, W, 3) each, at least one; scale: whole magnification s, nearest neighbour; gap: pixels between.
    """
    if not len(frames) or columns < 1 or scale < 1 or gap < 0:
        raise ValueError(f"contact sheet of {len(frames)} frames, {columns} columns, scale {scale}, gap {gap}: too few")
    height, width = frames[0].shape[0] * scale, frames[0].shape[1] * scale
    columns = min(columns, len(frames))
    rows = -(-len(frames) // columns)
    sheet = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), np.uint8)
    for i, frame in enumerate(frames):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[top : top + height, left : left + width] = frame.repeat(scale, axis=0).repeat(scale, axis=1)
    return sheet
