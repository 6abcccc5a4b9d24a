"""Read from DVC's lines which stages ran or came from the cache, and how long they took."""

import re
import time
from collections.abc import Callable

STAGES = ("fetch", "split", "validate", "convert", "train", "evaluate")

_BEGINS = {
    "ran": re.compile(r"Running stage '(\w+)'"),
    "unchanged": re.compile(r"Stage '(\w+)' didn't change"),
    "cached": re.compile(r"Stage '(\w+)' is cached"),
}


class StageClock:
    """Reads DVC's lines and measures the time of each stage.

    Attributes:
        stages: the outcome and the seconds of each stage so far, in order.

    Args:
        now: a clock, in seconds.
    """

    # Not a dataclass: Prefect passes copies of dataclasses to tasks.
    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.stages: dict[str, tuple[str, float]] = {}
        self._now = now
        self._begun: tuple[str, float] | None = None

    def read(self, line: str) -> bool:
        """Read a line. Returns True if a stage begins with it."""
        for became, pattern in _BEGINS.items():
            if found := pattern.search(line):
                self.stop()
                self.stages[found[1]] = (became, 0.0)
                self._begun = (found[1], self._now())
                return True
        return False

    def stop(self) -> None:
        """End the running stage."""
        if self._begun:
            name, since = self._begun
            self.stages[name] = (self.stages[name][0], self._now() - since)
            self._begun = None

    @property
    def share_done(self) -> float:
        """Share of all stages that are done."""
        return max(0, len(self.stages) - 1) / len(STAGES)

    @property
    def text(self) -> str:
        """The present stage, as in `train: ran`."""
        return ", ".join(f"{name}: {became}" for name, (became, _) in list(self.stages.items())[-1:])

    def rows(self) -> list[dict[str, str | float]]:
        """One row per stage."""
        return [
            {"stage": name, "outcome": became, "seconds": round(seconds, 1)}
            for name, (became, seconds) in self.stages.items()
        ]
