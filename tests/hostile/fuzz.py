"""Random damage to valid photographs, read and coloured until the time is over.

`python -m tests.hostile.fuzz SECONDS [SEED]`, or `make fuzz SECONDS=600`. What crashes, hangs or takes too
much memory is kept in the folder `fuzz-findings`; status 1 says that there is something.
"""

import hashlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.hostile import corpus
from tests.hostile.examine import Finding, colorize, find_failures, tiny_model

BATCH = 50
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@dataclass
class Outcome:
    """What became of the inputs.

    Attributes:
        inputs: how many were tried.
        findings: those that were failed, and what they did.
    """

    inputs: int = 0
    findings: list[Finding] = field(default_factory=list)


def mutations(seed: int) -> Iterator[bytes]:
    """Files without end, the same ones for the same seed."""
    random = np.random.default_rng(seed)
    seeds = list(corpus.seeds().values())
    while True:
        data = bytearray(seeds[random.integers(len(seeds))])
        for _ in range(random.integers(1, 6)):
            data = _damaged(data, seeds, random)
        yield bytes(data)


def _damaged(data: bytearray, seeds: list[bytes], random: np.random.Generator) -> bytearray:
    # Headers decide most: half of the damage is done there.
    reach = max(1, min(len(data), 200) if random.random() < 0.5 else len(data))
    place = int(random.integers(reach))
    length = int(random.integers(1, 64))
    match random.integers(7):
        case 0:
            data[place : place + 1] = bytes([random.integers(256)])
        case 1:
            size = int(random.choice([1, 2, 4]))
            number = int(random.choice(_NUMBERS)) & (256**size - 1)
            data[place : place + size] = number.to_bytes(size, str(random.choice(["big", "little"])))
        case 2:
            del data[place : place + length]
        case 3:
            data[place:place] = data[place : place + length] * int(random.integers(1, 50))
        case 4:
            data[place:place] = random.bytes(length)
        case 5:
            other = seeds[random.integers(len(seeds))]
            start = int(random.integers(len(other)))
            data[place : place + length] = other[start : start + length]
        case _:
            del data[len(data) - int(random.integers(len(data) // 2 + 1)) :]
    return data or bytearray(b"\0")


def fuzz(
    use: Callable[[Path], object],
    folder: Path,
    seed: int,
    seconds: float = float("inf"),
    most: int = sys.maxsize,
) -> Outcome:
    """Try inputs until the time is over, or as many as are wanted.

    Args:
        use: what a file is given to.
        folder: for the file that is being tried.
        seed: of the random numbers.
        seconds: of the clock.
        most: inputs.
    """
    outcome, end, inputs = Outcome(), time.monotonic() + seconds, mutations(seed)
    while time.monotonic() < end and outcome.inputs < most:
        batch = [next(inputs) for _ in range(min(BATCH, most - outcome.inputs))]
        files = [folder / hashlib.sha256(data).hexdigest()[:16] for data in batch]
        for path, data in zip(files, batch, strict=True):
            path.write_bytes(data)
        outcome.inputs += len(batch)
        outcome.findings += find_failures(files, use, BATCH)
        for path in set(files) - {finding.path for finding in outcome.findings}:
            path.unlink()
    return outcome


def main() -> None:
    """See the module."""
    seconds, seed = float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    kept = Path("fuzz-findings")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        outcome = fuzz(colorize(tiny_model(folder / "model")), folder, seed, seconds)
        for finding in outcome.findings:
            kept.mkdir(exist_ok=True)
            (kept / finding.path.name).write_bytes(finding.path.read_bytes())
            print(
                f"{kept / finding.path.name}: {finding.outcome}, "
                f"{finding.seconds:.1f} s, {finding.megabytes:.0f} MB"
            )
    print(f"{outcome.inputs} inputs, seed {seed}: {len(outcome.findings)} failed")
    sys.exit(bool(outcome.findings))


if __name__ == "__main__":
    main()
