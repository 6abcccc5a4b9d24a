"""Frames a second of `tintlab film` beside colouring each frame by itself, reading and writing included.

`python bench/film_rate.py [FRAMES] [HEIGHT]` makes a clip of generated pictures in H.264, 16:9, two shots; 96
frames of 720 lines if absent.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tintlab.imaging import color
from tintlab.inference.guided import coloured
from tintlab.scoring.chunk import load_colorizer
from tintlab.scoring.film import colour_film
from tintlab.scoring.film_file import FrameReader, open_film
from tintlab.scoring.film_parts import Coding, write_part
from tintlab.scoring.film_work import FilmSettings
from tintlab.scoring.settings import Options, settings_for
from tintlab.scoring.threads import cpus

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the tests' clips

from tests.scoring import film_clips
from tests.scoring.film_files import write_clip


def main() -> None:
    """Measure."""
    frames, height = (int(text) for text in (*sys.argv[1:], *("96", "720")[len(sys.argv) - 1 :]))
    print(f"{_cpu()}; {frames} frames of {height * 16 // 9} × {height}")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        shots = film_clips.shoot(film_clips.generated(2), frames // 2, (height * 16 // 9, height))
        grey = [np.repeat(np.rint(color.lightness(one.rgb)[..., None] * 2.55), 3, -1) for one in shots]
        reel = write_clip(place / "reel.mp4", [frame.astype(np.uint8) for frame in grey])
        settings = FilmSettings(reel, place / "out.mp4", settings_for(place, "base", Options()))
        film, colorizer = open_film(reel), load_colorizer(settings.score)
        next(_single(colorizer, film))  # the network's first run is slower
        began = time.perf_counter()
        write_part(place / "part", film, Coding(), _single(colorizer, film))
        single = time.perf_counter() - began
        began = time.perf_counter()
        colour_film(settings, lambda word: None)
        whole = time.perf_counter() - began
    print(f"frame by frame: {frames / single:.2f} frames a second; tintlab film: {frames / whole:.2f}")


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return f"{cpus()} CPUs of {name}"


def _single(colorizer: Any, film: Any) -> Iterator[tuple[int, Any]]:
    for frame in FrameReader(film).read():
        yield frame.pts, coloured(frame.lightness, colorizer.colours(frame.lightness))


if __name__ == "__main__":
    main()
