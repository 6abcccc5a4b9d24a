"""Small films for tests, by FFmpeg's encoders."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.scoring import film_clips
from tintlab.imaging import color

TICKS = Fraction(1, 600)


def grey_frames(count: int, size: tuple[int, int] = (64, 48), shots: int = 2) -> list[np.ndarray]:
    """Pans over generated pictures, as grey RGB."""
    photos = film_clips.generated(shots)
    clip = film_clips.shoot(photos, -(-count // shots), size)
    frames = [np.stack([np.rint(color.lightness(one.rgb) * 2.55)] * 3, axis=-1) for one in clip]
    return [frame.astype(np.uint8) for frame in frames[:count]]


def write_clip(
    path: Path,
    frames: Sequence[np.ndarray],
    times: Sequence[int] | None = None,
    sound: bool = False,
    rotation: int = 0,
    pixel_format: str = "yuv420p",
    codec: str = "libx264",
    options: dict[str, str] | None = None,
) -> Path:
    """A film, by FFmpeg's encoders; times are in ticks of 1/600 s."""
    with av.open(str(path), "w", container_options=options or {}) as container:
        video = container.add_stream(codec, rate=25)
        height, width = frames[0].shape[:2]
        video.width, video.height, video.pix_fmt = width, height, pixel_format
        video.codec_context.time_base = video.time_base = TICKS
        if rotation:
            video.set_display_rotation(rotation)
        audio = container.add_stream("aac", rate=8000, layout="mono") if sound else None
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
            frame.pts, frame.time_base = times[number] if times else number * 24, TICKS
            container.mux(video.encode(frame))
        if audio:
            tone = (np.sin(np.arange(8000 * len(frames) // 25) / 5) * 9000).astype(np.int16)[None]
            block = av.AudioFrame.from_ndarray(tone, "s16", "mono")
            block.rate, block.pts = 8000, 0
            container.mux(audio.encode(block))
            container.mux(audio.encode(None))
        container.mux(video.encode(None))
    return path
