"""Films: sound, times, sizes, cuts, kills; and colours that stay where they belong."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.conftest import make_picture
from tests.scoring import film_clips
from tests.scoring.conftest import make_settings
from tests.scoring.film_files import grey_frames, write_clip
from tintlab.imaging import color
from tintlab.inference.base_model import FOLDER
from tintlab.inference.colorizer import Colorizer
from tintlab.scoring import film, film_work
from tintlab.scoring.film_file import Frame, FrameReader, open_film
from tintlab.scoring.film_parts import Coding
from tintlab.scoring.film_shots import find_shots
from tintlab.system.errors import TintlabError


def settings_of(model: Path, source: Path, output: Path, **changes: object) -> film_work.FilmSettings:
    score = replace(make_settings(model, output.parent), working_size=48)
    return replace(film_work.FilmSettings(source, output, score), **changes)


def colour(model: Path, source: Path, output: Path, **changes: object) -> list[str]:
    """Colour a film; what was said."""
    said: list[str] = []
    said.append(film.colour_film(settings_of(model, source, output, **changes), said.append))
    return said


def seconds(path: Path) -> list[Fraction]:
    found = open_film(path)
    return [frame.pts * found.time_base for frame in FrameReader(found).read()]


def packets(path: Path, kind: str) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(**{kind: 0}) if packet.size]


def test_sound_times_and_lightness_are_kept(model: Path, tmp_path: Path) -> None:
    source = write_clip(tmp_path / "reel.mp4", grey_frames(30), sound=True)
    said = colour(model, source, tmp_path / "out.mp4")
    assert said[0] == "30 frames in 2 shots"
    assert seconds(tmp_path / "out.mp4") == seconds(source)
    assert packets(tmp_path / "out.mp4", "audio") == packets(source, "audio") != []
    before, after = (
        [frame.lightness for frame in FrameReader(open_film(path)).read()]
        for path in (source, tmp_path / "out.mp4")
    )
    assert np.abs(np.stack(before) - np.stack(after)).mean() < 1.5
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert "compositeWithTrainedAlgorithmicMedia" in container.metadata["comment"]
        assert all(ord(letter) < 128 for letter in container.metadata["comment"])
    rows = list(csv.DictReader((tmp_path / "out.mp4.shots.csv").open()))
    assert [(row["first_frame"], row["frames"]) for row in rows] == [("0", "15"), ("15", "15")]
    assert sorted(path.name for path in tmp_path.iterdir() if "out" in path.name) == [
        "out.mp4",
        "out.mp4.shots.csv",
    ]
    assert "is done already" in colour(model, source, tmp_path / "out.mp4")[0]


@pytest.mark.parametrize(
    ("codec", "name", "pixel_format"),
    [
        ("h264", "o.mkv", "yuv420p"),
        ("hevc", "o.mp4", "yuv420p10le"),
        ("ffv1", "o.mkv", "gbrp16le"),
        ("prores", "o.mov", "yuv422p10le"),
    ],
)
def test_codecs_and_ten_bits(codec: str, name: str, pixel_format: str, model: Path, tmp_path: Path) -> None:
    source = write_clip(tmp_path / "deep.mkv", grey_frames(6), pixel_format="yuv420p10le", codec="ffv1")
    assert open_film(source).bits == 10
    colour(model, source, tmp_path / name, coding=Coding(codec))  # type: ignore[arg-type]
    with av.open(str(tmp_path / name)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == pixel_format
        assert sum(1 for _ in container.decode(video=0)) == 6


def test_a_variable_rate_is_kept(model: Path, tmp_path: Path) -> None:
    times = [0, 24, 30, 100, 101, 300, 324, 900]
    source = write_clip(tmp_path / "reel.mp4", grey_frames(8), times)
    colour(model, source, tmp_path / "out.mp4")
    assert seconds(tmp_path / "out.mp4") == seconds(source)
    assert [float(one) for one in seconds(source)] == pytest.approx([time / 600 for time in times], abs=1e-4)


@pytest.mark.parametrize("size", [(65, 48), (64, 49), (63, 47)])
def test_odd_sizes_are_kept(size: tuple[int, int], model: Path, tmp_path: Path) -> None:
    source = write_clip(tmp_path / "odd.mkv", grey_frames(4, size), pixel_format="yuv444p")
    colour(model, source, tmp_path / "out.mp4")
    found = open_film(tmp_path / "out.mp4")
    assert (found.width, found.height) == size


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_rotated_film_is_coloured_upright(rotation: int, model: Path, tmp_path: Path) -> None:
    frames = grey_frames(4)
    source = write_clip(tmp_path / "turned.mp4", frames, rotation=rotation)
    colour(model, source, tmp_path / "out.mp4")
    found = open_film(tmp_path / "out.mp4")
    assert found.turns == 0
    (first, *_) = FrameReader(found).read()
    # FFmpeg's display rotation is counter-clockwise.
    expected = np.rot90(color.lightness(frames[0]), rotation // 90)
    assert first.lightness.shape == expected.shape
    assert np.abs(first.lightness - expected).mean() < 3


def test_a_film_that_is_cut_short_says_so(model: Path, tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mp4", grey_frames(40), options={"movflags": "faststart"})
    short = tmp_path / "short.mp4"
    short.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    said = colour(model, short, tmp_path / "out.mp4")
    assert "cut short" in said[1]
    assert 0 < len(seconds(tmp_path / "out.mp4")) < 40


def _sound_alone(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        audio = container.add_stream("aac", rate=8000, layout="mono")
        block = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
        block.rate = 8000
        container.mux(audio.encode(block))
        container.mux(audio.encode(None))
    return path


def test_what_is_no_film_is_refused_in_a_line(model: Path, tmp_path: Path) -> None:
    reel = write_clip(tmp_path / "reel.mp4", grey_frames(3))
    (tmp_path / "text.mp4").write_text("in the attic")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile /etc/passwd\n")
    (tmp_path / "index-lost.mp4").write_bytes(reel.read_bytes()[:300])
    cases = {
        _sound_alone(tmp_path / "sound.m4a"): "has no video",
        tmp_path / "text.mp4": "can't be read as a film",
        tmp_path / "list.mp4": "can't be read as a film",
        tmp_path / "index-lost.mp4": "can't be read as a film",
        tmp_path / "nowhere.mp4": "there is no such file",
        tmp_path: "no file",
    }
    for path, reason in cases.items():
        with pytest.raises(TintlabError, match=reason) as caught:
            colour(model, path, tmp_path / "out.mp4")
        assert str(caught.value).isprintable()
    with pytest.raises(TintlabError, match="choose such a name"):
        colour(model, reel, tmp_path / "out.avi")
    with pytest.raises(TintlabError, match="is the film itself"):
        colour(model, reel, reel)
    (tmp_path / "guides.json").write_text('[{"shot": 7}]')
    with pytest.raises(TintlabError, match="shot 7: the film has shots 1 to 1"):
        colour(model, reel, tmp_path / "out.mp4", guides=tmp_path / "guides.json")


def test_cuts_are_found_and_flashes_are_none() -> None:
    frames = grey_frames(60, (160, 120), shots=4)
    frames[7] = np.full_like(frames[7], 255)
    looked = [Frame(number, color.lightness(pixels)) for number, pixels in enumerate(frames)]
    assert [(shot.first, shot.frames) for shot in find_shots(looked)] == [
        (0, 15),
        (15, 15),
        (30, 15),
        (45, 15),
    ]


def test_no_colour_crosses_a_cut(model: Path, tmp_path: Path) -> None:
    frames = grey_frames(24)
    both = write_clip(tmp_path / "both.mkv", frames, codec="ffv1", pixel_format="yuv420p")
    second = write_clip(tmp_path / "second.mkv", frames[12:], codec="ffv1", pixel_format="yuv420p")
    for source in (both, second):
        colour(model, source, tmp_path / f"out-{source.name}", coding=Coding("ffv1"))
    assert packets(tmp_path / "out-both.mkv", "video")[12:] == packets(tmp_path / "out-second.mkv", "video")


def test_hints_and_a_reference_colour_their_shot_alone(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "reel.mkv", grey_frames(20), codec="ffv1", pixel_format="yuv420p")
    (tmp_path / "guides.json").write_text(
        '[{"shot": 2, "like": "red.png", "hints": [{"x": 0.5, "y": 0.5, "ab": [70, 50], "radius": 0.4}]}]'
    )
    from PIL import Image

    Image.fromarray(np.full((40, 40, 3), (200, 30, 30), np.uint8)).save(tmp_path / "red.png")
    results = []
    for name, guides in (("plain.mkv", None), ("guided.mkv", tmp_path / "guides.json")):
        colour(FOLDER, source, tmp_path / name, coding=Coding("ffv1"), guides=guides)
        with av.open(str(tmp_path / name)) as container:
            results.append([one.to_ndarray(format="rgb24") for one in container.decode(video=0)])
    plain, guided = results
    np.testing.assert_array_equal(np.stack(plain[:10]), np.stack(guided[:10]))

    def redness(frames: list[np.ndarray]) -> np.ndarray:
        return np.array([color.rgb_to_lab(pixels)[..., 1].mean() for pixels in frames[10:]])

    assert (redness(guided) - redness(plain)).min() > 10


_RUN = """
import sys
from pathlib import Path
from tests.scoring.test_film import settings_of
from tintlab.scoring import film, film_work
film_work.SEGMENT = 6
film.colour_film(settings_of(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])), lambda word: None)
"""


def test_three_kills_leave_the_same_bytes(model: Path, tmp_path: Path) -> None:
    source = write_clip(tmp_path / "reel.mp4", grey_frames(60), sound=True)
    for name in ("undisturbed", "killed"):
        output = tmp_path / name / "out.mp4"
        output.parent.mkdir()
        command = [sys.executable, "-c", _RUN, str(model), str(source), str(output)]
        for kill in range(3 if name == "killed" else 0):
            child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            state = output.with_name(".out.mp4.tintlab-film")
            deadline = time.monotonic() + 120
            while len(list(state.glob("*.packets"))) < 2 * (kill + 1) and child.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.002)
            os.kill(child.pid, signal.SIGKILL)
            assert child.wait() == -signal.SIGKILL
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    one, other = ((tmp_path / name / "out.mp4").read_bytes() for name in ("undisturbed", "killed"))
    assert one == other


_MEMORY = """
import resource, sys
from pathlib import Path
from tests.scoring.film_files import write_clip
from tests.scoring.test_film import endless, settings_of
from tintlab.scoring import film
folder, count = Path(sys.argv[2]), int(sys.argv[3])
settings = settings_of(Path(sys.argv[1]), folder / f"{count}.mkv", folder / f"{count}-out.mkv")
film.colour_film(settings, lambda word: None)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def endless(count: int) -> Iterator[np.ndarray]:
    """One shot that never ends."""
    photo = make_picture(200, 60, seed=3)
    grey = np.repeat(np.rint(color.lightness(photo) * 2.55).astype(np.uint8)[..., None], 3, axis=-1)
    for number in range(count):
        left = int(60 + 60 * np.sin(number / 40))
        yield grey[:48, left : left + 64]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_memory_is_flat_over_10000_frames(model: Path, tmp_path: Path) -> None:
    took = []
    for count in (500, 10_000):
        write_clip(tmp_path / f"{count}.mkv", list(endless(count)))
        command = [sys.executable, "-c", _MEMORY, str(model), str(tmp_path), str(count)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        took.append(int(done.stdout.split()[-1]) / 1024)
    assert took[1] < took[0] + 40, took


@pytest.mark.slow
def test_colours_stay_where_they_belong() -> None:
    colorizer = Colorizer.load(FOLDER)
    colorizer = colorizer.with_settings(colorizer.settings.model_copy(update={"working_size": 128}))
    clip = list(film_clips.shoot(film_clips.generated(2), 20, (214, 120)))
    ours = film_clips.measure(clip, film_clips.carried(colorizer, clip))
    theirs = film_clips.measure(clip, film_clips.frame_by_frame(colorizer))
    assert ours.warp <= 0.4 * theirs.warp
    assert ours.psnr >= theirs.psnr - 0.1
