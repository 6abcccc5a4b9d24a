"""The state of a film that is being coloured: its settings, its shots, and the folder of finished parts."""

import csv
import dataclasses
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tintlab.imaging.provenance import SOURCE_TYPE
from tintlab.scoring.film_carry import Guide
from tintlab.scoring.film_file import Film
from tintlab.scoring.film_parts import Coding
from tintlab.scoring.film_shots import Shot
from tintlab.scoring.settings import ScoreSettings
from tintlab.system.files import file_sha256

SEGMENT = 240
"""Frames of a part: what a killed process does again at most."""

_COLUMNS = (
    "shot",
    "first_frame",
    "frames",
    "begins",
    "last_frame_at",
    "network_runs",
    "carried",
    "hints",
    "reference",
    "parts_sha256",
    "weights_sha256",
    "source_sha256",
    "output_sha256",
)


@dataclass(frozen=True)
class FilmSettings:
    """How a film is coloured; can be sent to another process.

    Attributes:
        source: the film.
        output: the coloured film.
        score: the model, and how it is used; see `settings.settings_for`.
        coding: of the output.
        guides: a file with hints and reference pictures for single shots; see `film_guides.read_guides`.
        like: a reference picture for all shots.
    """

    source: Path
    output: Path
    score: ScoreSettings
    coding: Coding = field(default_factory=Coding)
    guides: Path | None = None
    like: Path | None = None

    @property
    def state(self) -> Path:
        """The folder of what is done so far, beside the output."""
        return self.output.with_name(f".{self.output.name}.tintlab-film")

    def comment(self, source_sha256: str) -> str:
        """The origin that the container records: every setting that decides the result."""
        origin = dataclasses.asdict(self.score.provenance(source_sha256))
        said = {name: value for name, value in origin.items() if value}
        said |= {"digital_source_type": SOURCE_TYPE, "codec": self.coding.codec}
        if self.coding.codec in ("h264", "hevc"):
            said["quality"] = str(self.coding.quality)
        for name, path in (("guides", self.guides), ("like", self.like)):
            if path:
                said[name] = file_sha256(path)
        return json.dumps(said, sort_keys=True)


@dataclass(frozen=True)
class Colouring:
    """A film that is being coloured.

    Attributes:
        settings: as given.
        film: what its header says.
        shots: in turn.
        is_timed: whether its frames can be found by their times.
        source_sha256: of the film.
        guides: what a person says of shots, by their numbers.
        words: what the user should know.
    """

    settings: FilmSettings
    film: Film
    shots: tuple[Shot, ...]
    is_timed: bool
    source_sha256: str
    guides: Mapping[int, Guide]
    words: tuple[str, ...]

    @property
    def frames(self) -> int:
        """How many there are."""
        return sum(shot.frames for shot in self.shots)

    @property
    def frames_left(self) -> int:
        """How many are in no part yet."""
        return sum(map(self.frames_left_of, self.shots))

    def frames_left_of(self, shot: Shot) -> int:
        """How many of a shot are in no part yet."""
        return max(0, shot.frames - SEGMENT * len(self.parts(shot)))

    def parts(self, shot: Shot) -> list[Path]:
        """The parts of a shot that are there, in turn."""
        count = -(-shot.frames // SEGMENT)
        paths = [self.part_path(shot, number) for number in range(count)]
        missing = next((number for number, path in enumerate(paths) if not path.exists()), count)
        return paths[:missing]

    def part_path(self, shot: Shot, number: int) -> Path:
        """The coded packets of `SEGMENT` frames of a shot; the last part may have fewer."""
        return self.settings.state / f"shot-{shot.number:05}-{number:05}.packets"

    def state_path(self, shot: Shot, number: int) -> Path:
        """The state of the colours after a part."""
        return self.settings.state / f"shot-{shot.number:05}-{number:05}.npz"


def manifest_of(output: Path) -> Path:
    """The manifest by shots of a coloured film, beside it."""
    return output.with_name(f"{output.name}.shots.csv")


def make_manifest(work: Colouring) -> str:
    """The manifest by shots as CSV, when the film is written: a row for each."""
    settings = work.settings
    output_sha256 = file_sha256(settings.output)
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(_COLUMNS)
    for shot in work.shots:
        done = work.parts(shot)
        state = np.load(work.state_path(shot, len(done) - 1))
        guide = work.guides.get(shot.number, Guide())
        digest = hashlib.sha256()
        for part in done:
            digest.update(bytes.fromhex(file_sha256(part)))
        times = (f"{float(pts * work.film.time_base):.3f}" for pts in (shot.start, shot.end))
        rows.writerow(
            [
                *(shot.number, shot.first, shot.frames, *times, int(state["counts"][2])),
                f"{float(state['carried']) / max(shot.frames - 1, 1):.3f}",
                len(guide.hints),
                "given" if guide.palette else "",
                *(digest.hexdigest(), settings.score.weights_sha256, work.source_sha256, output_sha256),
            ]
        )
    return file.getvalue()
