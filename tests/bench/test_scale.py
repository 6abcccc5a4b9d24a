"""What the benchmark of growing collections measures with."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from measuring import Report
from scale import exponent, make_photographs


def test_photographs_are_small_and_no_two_are_alike(tmp_path: Path) -> None:
    make_photographs(tmp_path, 990, 20)
    files = sorted(tmp_path.rglob("*.jpg"))
    assert len({file.read_bytes() for file in files}) == 20
    for file in files:
        with Image.open(file) as photo:
            assert all(64 <= side <= 100 for side in photo.size)


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
def test_the_exponent_is_the_power_of_the_growth(power: float) -> None:
    counts = [10, 100, 1000]
    assert exponent(counts, [3 * count**power for count in counts]) == pytest.approx(power)
    assert exponent(counts, [1.0, 1.0, 1.0]) == pytest.approx(0)


def test_times_that_are_noise_give_no_exponent() -> None:
    assert exponent([10, 100], [0.01, 0.4]) is None
    assert exponent([10, 100, 1000], [0.01, 0.4, 4.0]) == pytest.approx(1)


@pytest.mark.slow
def test_the_pipeline_of_the_benchmark_runs(tmp_path: Path, repository: Path) -> None:
    target = tmp_path / "scale.json"
    command = ["bench/scale.py", "--photos", "40", "60", "--repeats", "1", "--json", str(target)]
    subprocess.run([sys.executable, *command], cwd=repository, check=True, timeout=280)
    report = Report.read(target)
    assert {row.claim.split(",")[0] for row in report.rows} >= {"fetch", "split", "validate", "convert"}
    assert all(np.isfinite(row.value) for row in report.rows)
    assert all(report.details["60"][0][stage]["seconds"] > 0 for stage in ("fetch", "convert"))
