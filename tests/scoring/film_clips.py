"""Clips whose truth is known: photographs that a camera moves over, by pans, zooms and cuts.

`python -m tests.scoring.film_clips FOLDER` measures film colours beside frame-by-frame colouring, on clips from
the photographs of a folder.
"""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.conftest import make_picture
from tintlab.imaging import color
from tintlab.imaging.photos import PhotoError, read_photo
from tintlab.inference.colorizer import Colorizer
from tintlab.inference.guided import GuidedColours, coloured
from tintlab.scoring.film_carry import Carrier, Guide

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Move:
    """A camera's way over a photograph: its window at the beginning and the end, in shares of the photograph.

    Attributes:
        begin: centre x, centre y and width.
        end: the same.
    """

    begin: tuple[float, float, float]
    end: tuple[float, float, float]


MOVES = (
    Move((0.35, 0.5, 0.6), (0.65, 0.5, 0.6)),  # a pan
    Move((0.5, 0.5, 0.9), (0.5, 0.5, 0.5)),  # a zoom
    Move((0.4, 0.6, 0.5), (0.6, 0.45, 0.7)),  # both
)


@dataclass(frozen=True)
class TrueFrame:
    """A frame as the photograph shows it.

    Attributes:
        rgb: `(h, w, 3)`.
        grid: where each pixel lies in the photograph, `(h, w, 2)` in pixels: the true flow between two frames.
        shot: its number, from 0.
    """

    rgb: Pixels
    grid: NDArray[np.float32]
    shot: int


def shoot(photos: list[Pixels], frames: int, size: tuple[int, int]) -> Iterator[TrueFrame]:
    """A shot of each photograph, each by another of `MOVES`, of so many frames of `(width, height)`."""
    width, height = size
    for shot, photo in enumerate(photos):
        move = MOVES[shot % len(MOVES)]
        tall, wide = photo.shape[:2]
        for frame in range(frames):
            share = frame / max(frames - 1, 1)
            x, y, span = (b + (e - b) * share for b, e in zip(move.begin, move.end, strict=True))
            scale = min(span * wide / width, span * tall / height)
            across = (np.arange(width, dtype=np.float32) - width / 2 + 0.5) * scale + x * wide - 0.5
            down = (np.arange(height, dtype=np.float32) - height / 2 + 0.5) * scale + y * tall - 0.5
            grid = np.stack(np.meshgrid(across, down), axis=-1).astype(np.float32)
            source = cv2.GaussianBlur(photo, (0, 0), 0.5 * scale) if scale > 1 else photo
            yield TrueFrame(cv2.remap(source, grid, None, cv2.INTER_CUBIC), grid, shot)


def warp_error(before: TrueFrame, ab_before: color.Float, after: TrueFrame, ab_after: color.Float) -> float:
    """Mean |Δab| between a frame and the one before it, moved along the true flow."""
    scale = before.grid[0, 1, 0] - before.grid[0, 0, 0]
    at = (after.grid - before.grid[0, 0]) / scale
    moved = cv2.remap(ab_before, at, None, cv2.INTER_LINEAR)
    height, width = ab_before.shape[:2]
    inside = (at[..., 0] >= 0) & (at[..., 0] <= width - 1) & (at[..., 1] >= 0) & (at[..., 1] <= height - 1)
    return float(np.hypot(*np.moveaxis(moved - ab_after, -1, 0))[inside].mean())


@dataclass(frozen=True)
class Measures:
    """Of a way to colour a clip.

    Attributes:
        warp: see `warp_error`, the mean over all frames but the first of each shot.
        psnr: of ab, in dB with a peak of 255, of the mean squared error over all frames.
        seconds: a frame.
    """

    warp: float
    psnr: float
    seconds: float


def measure(frames: list[TrueFrame], colour: Callable[[TrueFrame, color.Float], Pixels]) -> Measures:
    """Colour a clip and compare it with the truth."""
    errors, squares = [], []
    before: tuple[TrueFrame, color.Float] | None = None
    seconds = 0.0
    for frame in frames:
        lightness = color.lightness(frame.rgb)
        began = time.perf_counter()
        rgb = colour(frame, lightness)
        seconds += time.perf_counter() - began
        ab = color.rgb_to_lab(rgb)[..., 1:]
        squares.append(float(np.square(ab - color.rgb_to_lab(frame.rgb)[..., 1:]).mean()))
        if before is not None and before[0].shot == frame.shot:
            errors.append(warp_error(*before, frame, ab))
        before = frame, ab
    return Measures(
        float(np.mean(errors)),
        float(10 * np.log10(255**2 / np.mean(squares))),
        seconds / len(frames),
    )


def frame_by_frame(colorizer: Colorizer) -> Callable[[TrueFrame, color.Float], Pixels]:
    """Each frame as a photograph of its own."""
    return lambda frame, lightness: coloured(lightness, colorizer.colours(lightness))


def carried(colorizer: Colorizer, frames: list[TrueFrame]) -> Callable[[TrueFrame, color.Float], Pixels]:
    """As a film of these frames is coloured, where its cuts are known."""
    shots: dict[int, Iterator[tuple[color.Float, color.Float]]] = {}

    def colour(frame: TrueFrame, lightness: color.Float) -> Pixels:
        if frame.shot not in shots:
            of_shot = (color.lightness(one.rgb) for one in frames if one.shot == frame.shot)
            shots[frame.shot] = Carrier(colorizer, Guide()).colours(of_shot)
        ab, small = next(shots[frame.shot])
        return coloured(lightness, GuidedColours(ab, small, lightness.shape))

    return colour


def generated(count: int) -> list[Pixels]:
    """Photographs for tests that have none."""
    return [make_picture(480, 360, seed=20 + number) for number in range(count)]


def main() -> None:
    """See the module."""
    from tintlab.inference.base_model import FOLDER

    colorizer = Colorizer.load(FOLDER)
    photos: list[Pixels] = []
    for path in sorted(Path(sys.argv[1]).iterdir()):
        try:
            photo = read_photo(path, 200).rgb()
        except PhotoError:
            continue
        if min(photo.shape[:2]) >= 200:
            photos.append(photo)
        if len(photos) == int(sys.argv[2] if len(sys.argv) > 2 else 12):
            break
    clips = [list(shoot(photos[at : at + 2], 48, (426, 240))) for at in range(0, len(photos), 2)]
    rows = []
    for number, clip in enumerate(clips):
        ours, theirs = measure(clip, carried(colorizer, clip)), measure(clip, frame_by_frame(colorizer))
        rows.append((ours, theirs))
        print(
            f"clip {number}: warp {ours.warp:.3f} beside {theirs.warp:.3f} ({ours.warp / theirs.warp:.2f}), "
            f"PSNR {ours.psnr:.2f} beside {theirs.psnr:.2f} dB, {1000 * ours.seconds:.0f} beside "
            f"{1000 * theirs.seconds:.0f} ms a frame",
            flush=True,
        )
    warp = np.mean([one.warp for one, _ in rows]) / np.mean([other.warp for _, other in rows])
    gain = np.mean([one.psnr - other.psnr for one, other in rows])
    print(f"all: warp error {warp:.3f} of frame-by-frame's, PSNR {gain:+.2f} dB in the mean")


if __name__ == "__main__":
    main()
