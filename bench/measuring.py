"""What the benchmarks share: both sides in turns, medians and spread, one form of result.

A benchmark measures its sides within one run and in turns, so that other work on the machine, a warm cache or
a throttled clock meets all of them. What it found is a `Report`, a JSON file of plain numbers; `table.py` makes
the table of README.md from these files and from nothing else.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """A line of the table: one claim.

    Attributes:
        claim: what is compared, in a few words.
        unit: of both sides.
        ours: tintlab's figures, one a repeat.
        baseline: the other side's figures; empty where the claim is about ours alone.
        against: what the other side is.
        figure: what is asked about: `ours`, or a quotient of the medians.
        at_least: what the figure must reach, or None.
        at_most: what it must not exceed, or None.
    """

    claim: str
    unit: str
    ours: list[float]
    baseline: list[float]
    against: str
    figure: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def value(self) -> float:
        """The figure, of medians."""
        ours = statistics.median(self.ours)
        if self.figure == "ours":
            return ours
        baseline = statistics.median(self.baseline)
        return {"ours / baseline": ours / baseline, "baseline / ours": baseline / ours}[self.figure]

    @property
    def met(self) -> bool:
        """Whether the figure is as asked."""
        enough = self.at_least is None or self.value >= self.at_least
        return enough and (self.at_most is None or self.value <= self.at_most)


@dataclass
class Report:
    """What a benchmark found.

    Attributes:
        command: that makes this report.
        machine: see `machine`.
        rows: its lines of the table.
        details: whatever explains them.
    """

    command: str
    machine: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rounded(asdict(self)), indent=1, ensure_ascii=False) + "\n", "utf-8")

    @classmethod
    def read(cls, path: Path) -> "Report":
        """Read what `write` wrote."""
        content = json.loads(path.read_text("utf-8"))
        return cls(**content | {"rows": [Row(**row) for row in content["rows"]]})


def rounded(value: Any) -> Any:
    """The same with floats of five digits: more are noise."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, Mapping):
        return {key: rounded(inner) for key, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, list | tuple) else value


def machine() -> dict[str, Any]:
    """What the figures depend on: processor, cores, memory, torch, and how busy the machine was before."""
    import psutil
    import torch

    from tintlab.tracking.lineage import cpu_model

    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "load": round(os.getloadavg()[0], 2),
    }


def interleaved(
    ways: Mapping[str, Callable[[], object]], repeats: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """Seconds of each way, one a repeat; all ways once, then all once more, in alternating order.

    Args:
        ways: what is timed, by name.
        repeats: how often.
        warm_up: how often before that, not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(warm_up + repeats):
        names = list(ways) if turn % 2 == 0 else list(reversed(ways))
        for name in names:
            taken = timed(ways[name])
            if turn >= warm_up:
                seconds[name].append(taken)
    return seconds


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def rates(count: float, seconds: Sequence[float]) -> list[float]:
    """`count` a second, of each repeat."""
    return [count / taken for taken in seconds]


def parser(name: str, text: str, repeats: int) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    made = argparse.ArgumentParser(prog=f"bench/{name}.py", description=text)
    made.add_argument("--repeats", type=int, default=repeats, help="of each side, after a warm-up")
    made.add_argument("--json", type=Path, default=RESULTS / f"{name}.json", help="where the report goes")
    return made


def conclude(report: Report, path: Path) -> None:
    """Write the report and print its rows."""
    report.write(path)
    for row in report.rows:
        print(summary(row), flush=True)
    print(f"wrote {path}")


def command(name: str) -> str:
    """The command as it was given."""
    return " ".join(["python", f"bench/{name}.py", *sys.argv[1:]])


def summary(row: Row) -> str:
    """A row in one line, for the terminal."""
    asked = asked_for(row)
    verdict = f" (asked: {asked}: {'met' if row.met else 'NOT met'})" if asked else ""
    against = f" against {spread(row.baseline, row.unit)} of {row.against}" if row.baseline else ""
    figure = "" if row.figure == "ours" else f", {row.figure} {shown(row.value)}"
    return f"{row.claim}: {spread(row.ours, row.unit)}{against}{figure}{verdict}"


def asked_for(row: Row) -> str:
    """What is asked, as in `≥ 1.3`."""
    parts = [] if row.at_least is None else [f"≥ {shown(row.at_least)}"]
    return " and ".join(parts + ([] if row.at_most is None else [f"≤ {shown(row.at_most)}"]))


def spread(values: Sequence[float], unit: str) -> str:
    """Median with least and greatest, as in `3.1 s (3.0–3.3)`."""
    median = shown(statistics.median(values))
    ends = shown(min(values)), shown(max(values))
    return f"{median} {unit}".strip() + (f" ({ends[0]}–{ends[1]})" if len(values) > 1 else "")


def shown(value: float) -> str:
    """A number of three digits for people."""
    if value != 0 and (abs(value) < 1e-3 or abs(value) >= 1e5):
        return f"{value:.2e}"
    return f"{float(f'{value:.3g}'):g}"
