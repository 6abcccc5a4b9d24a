"""How much faster this checkout colours than an older one: side by side, in turns.

    python bench/fast.py /path/to/older/checkout --model models/generator

Each side runs in the virtual environment of its own checkout, in processes of its own, over the same photographs:
the first of a folder, enlarged to 0.5 and to 12 megapixels. The older side may have the package's former names of
modules. Rates are wall time without start-up: from one finished photograph to the last, as the manifest says.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image

ROUNDS = 3
SIZES = {"0.5 megapixels": (816, 612, 120), "12 megapixels": (4000, 3000, 24)}
_FEW = {"0.5 megapixels": 70, "12 megapixels": 6}  # until the compiled loops run

COLOUR = """
import json, time
import numpy as np
try:
    from tintlab.imaging import color
except ImportError:
    from tintlab import color
try:
    from tintlab.imaging import compiled as fused
    fused.load()
except ImportError:
    fused = color
rgb = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), np.uint8)
lab = color.rgb_to_lab(rgb)
L, a, b = (np.ascontiguousarray(lab[..., channel]) for channel in range(3))
source, target = np.zeros(64 << 20, np.uint8), np.empty(64 << 20, np.uint8)
def rate(work):
    seconds = []
    for _ in range(15):
        began = time.perf_counter(); work(); seconds.append(time.perf_counter() - began)
    return 1 / sorted(seconds)[7]
strips = list(color.strips(L.shape, 1 << 16))
print(json.dumps({
    "L*a*b* to sRGB": rate(lambda: [fused.lab_to_pixels(L[s], a[s], b[s], np.uint8) for s in strips]),
    "sRGB to L*": rate(lambda: fused.lightness(rgb)),
    "copy": rate(lambda: np.copyto(target, source)) * 2 * source.nbytes / 1e6 / 15,
}))
"""


def main() -> None:
    """Measure, print a row each, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("older", type=Path, help="a checkout with its own .venv")
    parser.add_argument("--model", type=Path, default=Path("models/generator"))
    parser.add_argument("--photos", type=Path, default=Path("data/raw"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    sides = {"ours": Path.cwd(), "older": arguments.older.absolute()}
    rows: dict[str, dict[str, float]] = {}
    print(f"{_processor()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, (width, height, count) in SIZES.items():
            _enlarge(arguments.photos, folder / "in", (width, height), count)
            rows[f"scoring, {name}, photos/s"] = _scoring(
                sides, arguments.model.absolute(), folder, _FEW[name]
            )
        for name in ("L*a*b* to sRGB", "sRGB to L*", "copy"):
            rows[f"{name}, megapixels/s"] = {}
        for side, checkout in sides.items():
            for name, rate in _colour(checkout, folder).items():
                rows[f"{name}, megapixels/s"][side] = rate
    for name, row in rows.items():
        print(f"{name}: {row['ours']:.3g}, older {row['older']:.3g}: {row['ours'] / row['older']:.2f} times")
    ours = {name: row["ours"] for name, row in rows.items()}
    share = ours["L*a*b* to sRGB, megapixels/s"] / ours["copy, megapixels/s"]
    print(f"L*a*b* to sRGB, share of a copy's rate: {share:.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"processor": _processor(), "rows": rows}, indent=1))


def _scoring(sides: dict[str, Path], model: Path, folder: Path, few: int) -> dict[str, float]:
    """Photographs a second of each side: the median of rounds."""
    rates: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(ROUNDS + 1):
        for side in sorted(sides, reverse=turn % 2 == 1):
            rate = _run(sides[side], model, folder, few)
            if turn:  # the first warms caches, and converts the model
                rates[side].append(rate)
    return {side: statistics.median(each) for side, each in rates.items()}


def _run(checkout: Path, model: Path, folder: Path, few: int) -> float:
    """Photographs a second by the times of the manifest, after the first few."""
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    environment["TINTLAB_STATE"] = str(folder / "state" / checkout.name)
    with tempfile.TemporaryDirectory(dir=folder) as output:
        target = Path(output) / "out"
        command = [checkout / ".venv/bin/tintlab", "score", folder / "in", target, "--model", model]
        subprocess.run(command, check=True, capture_output=True, cwd=folder, env=environment)
        finished = pq.read_table(target / "manifest.parquet")["finished"].to_pylist()
    times = sorted(each.timestamp() for each in finished)[few:]
    return (len(times) - 1) / (times[-1] - times[0])


def _colour(checkout: Path, folder: Path) -> dict[str, float]:
    found = subprocess.run(
        [checkout / ".venv/bin/python", "-c", COLOUR], check=True, capture_output=True, cwd=folder, text=True
    )
    rates: dict[str, float] = json.loads(found.stdout)
    return rates


def _enlarge(photos: Path, target: Path, size: tuple[int, int], count: int) -> None:
    target.mkdir(exist_ok=True)
    for path in target.iterdir():
        path.unlink()
    for number, path in enumerate(sorted(photos.iterdir())[:count]):
        with Image.open(path) as image:
            large = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
            large.save(target / f"{number:02}.jpg", quality=92)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
        flags = next(line for line in lines if line.startswith("flags")).split()
    except (OSError, StopIteration):
        return platform.processor()
    return f"{name} ({', '.join(flag for flag in ('amx_bf16', 'avx512_bf16') if flag in flags) or 'no bf16'})"


if __name__ == "__main__":
    sys.exit(main())
