"""How long the default recipe takes to be as good as the tutorials' after half an hour.

    python bench/time_to_quality.py baseline --minutes 30      # the recorded side; takes as long as it says
    python bench/time_to_quality.py                            # ours, against what is recorded

Good is: the judge's kernel distance of the coloured test photographs from the true ones is no more than the
baseline's at its end, their colourfulness is in the band that a promotion asks for, and their similarity to the
true ones exceeds grey's; in two evaluations in a row. The clock stands still while photographs are judged. Both
sides train on the same photographs; the baseline opens and converts them itself, in two loader processes.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image
from torch.utils.data import DataLoader

from baselines.dataset import Photographs
from baselines.inference import full_picture
from baselines.pix2pix import Pix2Pix, patch_discriminator, unet
from measuring import RESULTS, Report, Row, command, conclude, machine, parser, rounded
from recipes import BATCH, THREADS, default_params
from tintlab.evaluation import metrics
from tintlab.evaluation.judge import Judge, view
from tintlab.gan.listener import Silent
from tintlab.gan.loop import Training
from tintlab.imaging import color
from tintlab.imaging.photos import read_photo
from tintlab.imaging.squares import open_squares
from tintlab.inference.colorizer import Colorizer, Settings
from tintlab.system import paths
from tintlab.system.params import Params, load_params
from tintlab.system.tables import read_table

RECORDED = RESULTS / "time_to_quality_baseline.json"
LIMIT = 200.0
EVERY = 25  # iterations between two evaluations of ours
JUDGED_EVERY = 5.0  # minutes between two of the baseline's

Quality = dict[str, float]


class Clock:
    """Minutes that have passed, and CPU minutes that this process and its children have used; can stand still."""

    def __init__(self) -> None:
        self._began = self._now()
        self._stood = (0.0, 0.0)

    def read(self) -> Quality:
        """What has passed since the start, pauses apart."""
        names = ("minutes", "cpu_minutes")
        passed = zip(names, self._now(), self._began, self._stood, strict=True)
        return {name: now - began - stood for name, now, began, stood in passed}

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """What happens within does not count."""
        before = self._now()
        yield
        ended = self._now()
        self._stood = (self._stood[0] + ended[0] - before[0], self._stood[1] + ended[1] - before[1])

    @staticmethod
    def _now() -> tuple[float, float]:
        process = psutil.Process()
        used = [one.cpu_times() for one in (process, *process.children())]
        return time.perf_counter() / 60, sum(times.user + times.system for times in used) / 60


class Jury:
    """The test photographs, and what the judge sees in the true ones and in grey."""

    def __init__(self) -> None:
        accepted = read_table(paths.ACCEPTED)
        names = sorted(accepted.loc[accepted["split"] == "test", "photo"])
        self.photos = [read_photo(paths.RAW / name, LIMIT).rgb() for name in names]
        self.judge = Judge()
        self.true = self._seen(self.photos)
        self.true_colourfulness = statistics.fmean(map(color.colourfulness, self.photos))
        greys = [np.asarray(Image.fromarray(rgb).convert("L").convert("RGB")) for rgb in self.photos]
        self.grey_similarity = float(metrics.similarity(self._seen(greys), self.true).mean())

    def quality(self, colour: Callable[[color.Byte], color.Byte]) -> Quality:
        """How the photographs look when `colour` has made them from `(h, w, 3)`, whose colours it may not use."""
        coloured = [colour(rgb) for rgb in self.photos]
        seen = self._seen(coloured)
        colourfulness = statistics.fmean(map(color.colourfulness, coloured))
        return {
            "kernel_distance": float(metrics.kernel_distance(metrics.kernel_terms(seen, self.true))[0]),
            "colourfulness_share": colourfulness / self.true_colourfulness,
            "similarity": float(metrics.similarity(seen, self.true).mean()),
            "grey_similarity": self.grey_similarity,
        }

    def _seen(self, pictures: list[color.Byte]) -> metrics.Numbers:
        return np.concatenate([self.judge.look(view(rgb)[None])[0] for rgb in pictures])


def good(quality: Quality, distance: float, band: tuple[float, float]) -> bool:
    """Whether a model is as good as asked; see the top of this file."""
    return (
        quality["kernel_distance"] <= distance
        and band[0] <= quality["colourfulness_share"] <= band[1]
        and quality["similarity"] > quality["grey_similarity"]
    )


class ReachedError(Exception):
    """The model is good enough."""


class Stopwatch(Silent):
    """Listens to a training of ours; judges it now and then, and ends it when it is good.

    Args:
        jury: judges.
        params: all parameters.
        distance: the kernel distance to reach.
    """

    def __init__(self, jury: Jury, params: Params, distance: float) -> None:
        self.jury, self.params, self.distance = jury, params, distance
        self.training: Training | None = None
        self.clock = Clock()
        self.course: list[Quality] = []

    def stepped(self, iteration: int) -> None:
        """Judge the model where it is time."""
        if iteration % EVERY:
            return
        assert self.training is not None
        read = self.clock.read()
        with self.clock.standing_still():
            network = self.training.networks.kept_generator
            was_training = network.training
            train = self.params.train
            settings = Settings(
                working_size=train.working_size, flip_average=train.flip_average, saturation=train.saturation
            )
            colorizer = Colorizer(network.eval(), int(network.multiple), settings)
            self.course.append(read | self.jury.quality(colorizer.colorize))
            network.train(was_training)
        print(rounded(self.course[-1]), flush=True)
        band = self.params.promotion.colourfulness
        if len(self.course) > 1 and all(good(one, self.distance, band) for one in self.course[-2:]):
            raise ReachedError


def our_course(jury: Jury, params: Params, distance: float, seed: int) -> tuple[bool, list[Quality]]:
    """Whether the default recipe becomes good, and its course until it is."""
    squares, val_squares = (open_squares(split) for split in ("train", "val"))
    stopwatch = Stopwatch(jury, params, distance)
    train = params.train.model_copy(update={"seed": seed, "threads": THREADS})
    with tempfile.TemporaryDirectory() as folder:
        stopwatch.training = Training(train, Path(folder), stopwatch)
        try:
            stopwatch.training.run(squares, val_squares)
        except ReachedError:
            return True, stopwatch.course
    return False, stopwatch.course


def baseline_course(jury: Jury, minutes: float, size: int) -> list[Quality]:
    """The tutorials' training for so many minutes, judged every `JUDGED_EVERY`."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    accepted = read_table(paths.ACCEPTED)
    names = accepted.loc[accepted["split"] == "train", "photo"]
    photographs = Photographs([paths.RAW / name for name in names], size)
    loader = DataLoader(photographs, BATCH, shuffle=True, num_workers=THREADS, persistent_workers=True)
    model = Pix2Pix(unet(depth=min(8, size.bit_length() - 1)), patch_discriminator())

    def colour(rgb: color.Byte) -> color.Byte:
        return full_picture(Image.fromarray(rgb), model.generator, size)

    clock, course, iteration = Clock(), [], 0
    while True:
        for L, ab in loader:
            model.step(L, ab)
            iteration += 1
            read = clock.read()
            if read["minutes"] < min(JUDGED_EVERY * (len(course) + 1), minutes):
                continue
            with clock.standing_still():
                model.generator.eval()
                course.append(read | {"iteration": float(iteration)} | jury.quality(colour))
            print(rounded(course[-1]), flush=True)
            if read["minutes"] >= minutes:
                return course


def main() -> None:
    """Measure and write the report."""
    made = parser("time_to_quality", "Minutes to the quality of the tutorials' half an hour.", 3)
    made.add_argument("side", nargs="?", choices=["ours", "baseline"], default="ours")
    made.add_argument("--minutes", type=float, default=30.0, help="of the baseline's training")
    made.add_argument("--size", type=int, default=256, help="of the baseline's pictures in pixels")
    options = made.parse_args()
    params, jury = load_params().model_copy(update={"train": default_params()}), Jury()
    if options.side == "baseline":
        known: dict[str, Any] = {"command": command("time_to_quality"), "machine": machine()}
        known["course"] = baseline_course(jury, options.minutes, options.size)
        RECORDED.write_text(json.dumps(rounded(known), indent=1) + "\n", "utf-8")
        return
    if not RECORDED.exists():
        sys.exit(f"{RECORDED} is missing: run `python bench/time_to_quality.py baseline`, half an hour")
    recorded = json.loads(RECORDED.read_text("utf-8"))
    report = Report(command("time_to_quality"), machine())
    end = recorded["course"][-1]
    courses = [
        our_course(jury, params, end["kernel_distance"], params.train.seed + repeat)
        for repeat in range(options.repeats)
    ]
    title = f"quality of the baseline after {end['minutes']:.0f} minutes"
    for clock, what in (("minutes", "time"), ("cpu_minutes", "CPU time")):
        needed = [course[-1][clock] if reached else float("inf") for reached, course in courses]
        against = "tutorial training, 256 px, recorded"
        report.rows.append(
            Row(
                f"{what} to the {title}",
                "minutes",
                needed,
                [end[clock]],
                against,
                "ours / baseline",
                at_most=0.1,
            )
        )
    report.details = {"baseline": recorded, "ours": [course for _, course in courses]}
    conclude(report, options.json)


if __name__ == "__main__":
    main()
