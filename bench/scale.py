"""How fetch, split, validate and convert grow with the number of photographs, and what DVC takes itself.

Small generated JPEGs (64 to 100 px) in a temporary pipeline of these four stages, which `dvc repro` runs; a timer
around each stage notes its time and memory, what is left of the whole is DVC's own. What a stage takes for a
handful of photographs is its start, which the exponents leave out.
"""

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from ruamel.yaml import YAML

from measuring import Report, Row, command, conclude, machine, parser
from tintlab.scoring.threads import cpus

ROOT = Path(__file__).parents[1]
STAGES = ("fetch", "split", "validate", "convert")
HANDFUL = 40
STEEPEST = 1.15
"""The exponent that we allow: 1 is linear."""
LEAST = 0.3
"""Seconds of its own that a stage must take for its time to say something about growth."""
PARAMS: dict[str, dict[str, Any]] = {
    "fetch": {"starter": False},
    "validate": {"min_side": 32, "min_colourfulness": 0, "max_quarantined": 1, "min_train": 1, "min_val": 1}
    | {"min_test": 1, "max_cast": 128, "min_contrast": 0},
    "convert": {"image_size": 64},
    "train": {"image_size": 64, "crop": [64, 64]},
}


def make_photographs(folder: Path, first: int, count: int) -> None:
    """Write JPEGs of soft random colours, no two alike."""
    for number in range(first, first + count):
        random = np.random.default_rng(number)
        width, height = (int(side) for side in random.integers(64, 101, 2))
        coarse = Image.fromarray(random.integers(0, 256, (12, 12, 3), np.uint8))
        file = io.BytesIO()
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(file, "JPEG", quality=80)
        part = folder / f"{number // 1000:03}"
        part.mkdir(exist_ok=True)
        (part / f"{number:06}.jpg").write_bytes(file.getvalue())


def write_params(folder: Path, root: Path = ROOT) -> None:
    """The parameters of the checkout at `root`, for small photographs."""
    yaml = YAML()
    params = yaml.load(root / "params.yaml")
    for section, changes in PARAMS.items():
        params[section].update(changes)
    yaml.dump(params, folder / "params.yaml")


def pipeline(folder: Path, count: int) -> None:
    """A pipeline of the four stages on `count` photographs."""
    write_params(folder)
    yaml = YAML()
    stages = yaml.load(ROOT / "dvc.yaml")["stages"]
    kept: dict[str, Any] = {}
    for name in STAGES:
        stage = stages[name]
        timer = f"{sys.executable} {ROOT / 'bench/stage_timer.py'} {name}.json tintlab.stages.{name}"
        data = [path for path in stage["deps"] if path.startswith("data/") and not path.endswith(".zip")]
        kept[name] = {key: stage[key] for key in ("params", "outs", "metrics") if key in stage}
        kept[name] |= {"cmd": timer, "deps": data}
    yaml.dump({"stages": kept}, folder / "dvc.yaml")
    inbox = folder / "data/inbox"
    inbox.mkdir(parents=True)
    (folder / "reports").mkdir()
    (folder / "data/sources.lock.json").write_text("{}\n")
    workers = cpus()
    share = -(-count // workers)
    with ProcessPoolExecutor(workers) as pool:
        parts = range(0, count, share)
        list(pool.map(make_photographs, [inbox] * workers, parts, [min(share, count - at) for at in parts]))


def run(count: int) -> dict[str, dict[str, float]]:
    """Build the pipeline on `count` photographs; figures by stage, of `dvc` itself and of `tables`."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pipeline(folder, count)
        environment = os.environ | {"TINTLAB_STATE": str(folder / "state"), "DVC_NO_ANALYTICS": "1"}
        dvc = [sys.executable, "-m", "dvc"]
        began = time.perf_counter()
        for arguments in (["init", "--no-scm", "-q"], ["repro", "convert"]):
            if arguments[0] == "repro":
                began = time.perf_counter()
            done = subprocess.run(
                [*dvc, *arguments],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                sys.exit(f"{done.stdout}{done.stderr}")
        whole = time.perf_counter() - began
        found: dict[str, dict[str, float]] = {
            name: json.loads((folder / f"{name}.json").read_text()) for name in STAGES
        }
        began = time.perf_counter()
        subprocess.run([*dvc, "status"], cwd=folder, env=environment, capture_output=True, check=True)
        found["dvc"] = {
            "seconds": whole - sum(figures["seconds"] for figures in found.values()),
            "status_seconds": time.perf_counter() - began,
        }
        files = [*folder.glob("data/*.csv"), *folder.glob("data/lab/*.csv")]
        found["tables"] = {file.name: file.stat().st_size / count for file in files}
        shutil.rmtree(folder / ".dvc")
    return found


def run_beside(count: int, other: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Run the stages of this checkout and of another on the same photographs, without DVC; by side and stage."""
    found: dict[str, dict[str, dict[str, float]]] = {"ours": {}, "baseline": {}}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pipeline(folder, count)
        for side, root in (("ours", ROOT), ("baseline", other)):
            write_params(folder, root)
            environment = os.environ | {
                "TINTLAB_STATE": str(folder / "state"),
                "PYTHONPATH": str(root.absolute() / "src"),
            }
            for name in STAGES:
                timer = [
                    sys.executable,
                    ROOT / "bench/stage_timer.py",
                    f"{name}.json",
                    f"tintlab.stages.{name}",
                ]
                done = subprocess.run(
                    timer, cwd=folder, env=environment, capture_output=True, text=True, check=False
                )
                if done.returncode:
                    sys.exit(f"{done.stdout}{done.stderr}")
                found[side][name] = json.loads((folder / f"{name}.json").read_text())
                print(count, side, name, found[side][name], flush=True)
    return found


def measure_beside(counts: list[int], other: Path, path: Path) -> None:
    """Compare memory and time of the stages with those of another checkout, and write the report."""
    report = Report(command("scale"), machine())
    sized = [run_beside(count, other) for count in counts]
    largest, before = sized[-1], sized[-2]
    for name in STAGES:
        added = {
            side: 1e6
            * (largest[side][name]["peak_megabytes"] - before[side][name]["peak_megabytes"])
            / (counts[-1] - counts[-2])
            for side in largest
        }
        claim = f"{name}, memory that a photograph adds up to {counts[-1]:,}"
        row = Row(claim, "bytes", [added["ours"]], [added["baseline"]], other.name, "ours", at_most=1024)
        taken = {side: [largest[side][name]["cpu_seconds"]] for side in largest}
        claim = f"{name}, CPU time for {counts[-1]:,}"
        report.rows += [row, Row(claim, "s", taken["ours"], taken["baseline"], other.name, "ours / baseline")]
    report.details = dict(zip(map(str, counts), sized, strict=True))
    conclude(report, path)


def exponent(counts: list[int], seconds: list[float]) -> float | None:
    """The slope of log seconds over log counts; None with fewer than two times that are no mere noise."""
    told = [(count, taken) for count, taken in zip(counts, seconds, strict=True) if taken >= LEAST]
    if len(told) < 2:
        return None
    return float(np.polyfit(*np.log(told).T, 1)[0])


def main() -> None:
    """Measure and write the report."""
    text = "fetch, split, validate and convert on more and more photographs."
    made = parser("scale", text, 2)
    made.add_argument("--photos", type=int, nargs="+", default=[1000, 10_000], help="at least two sizes")
    made.add_argument("--beside", type=Path, help="a checkout of another commit: compare memory and time")
    options = made.parse_args()
    counts: list[int] = sorted(options.photos)
    if options.beside is not None:
        measure_beside(counts, options.beside, options.json)
        return
    report = Report(command("scale"), machine())
    # Larger sets are their own repeats: a minute or more each.
    start, *sized = (
        [run(count) for _ in range(options.repeats if count <= 1000 else 1)] for count in (HANDFUL, *counts)
    )
    largest = counts[-1]
    for name in (*STAGES, "dvc"):
        title = "DVC itself" if name == "dvc" else name
        # CPU seconds feel other work on the machine least; of DVC there are only those of the clock.
        clock = "seconds" if name == "dvc" else "cpu_seconds"
        began = min(one[name][clock] for one in start)
        own = [float(np.median([one[name][clock] for one in runs])) - began for runs in sized]
        limit = None if name == "dvc" else STEEPEST
        if (slope := exponent(counts, own)) is not None:
            report.rows.append(Row(f"{title}, exponent of time", "", [slope], [], "", "ours", at_most=limit))
        rate = [largest / one[name]["seconds"] for one in sized[-1]]
        report.rows.append(Row(f"{title}, rate at {largest:,}", "photos/s", rate, [], "", "ours"))
    last, before = sized[-1][0], sized[-2][0]
    for name in STAGES:
        grown = 1e6 * (last[name]["peak_megabytes"] - before[name]["peak_megabytes"])
        claim = f"{name}, memory that a photograph adds"
        added = grown / (largest - counts[-2])
        report.rows.append(Row(claim, "bytes", [added], [], "", "ours", at_most=1024))
    on_disk = sum(last["tables"].values())
    report.rows.append(Row("tables on disk, a photograph", "bytes", [on_disk], [], "", "ours", at_most=1024))
    for name in ("fetch", "convert"):
        busy = last[name]["cpu_seconds"] / last[name]["seconds"]
        report.rows.append(
            Row(f"{name}, cores in use", "", [busy], [float(cpus())], "all", "ours / baseline", at_least=0.85)
        )
    report.details = {
        str(count): runs for count, runs in zip([HANDFUL, *counts], [start, *sized], strict=True)
    }
    conclude(report, options.json)


if __name__ == "__main__":
    main()
