"""Reading DVC's lines: which stages ran or were taken from the cache, and for how long."""

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
    """Hears DVC's lines and takes the time.

    Attributes:
        stages: what became of each stage so far, and its seconds, in the order of their begin.

    Args:
        now: a clock, in seconds.
    """

    # No dataclass: Prefect hands copies of those to tasks.
    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.stages: dict[str, tuple[str, float]] = {}
        self._now = now
        self._begun: tuple[str, float] | None = None

    def read(self, line: str) -> bool:
        """Heed a line; True if a stage begins with it."""
        for became, pattern in _BEGINS.items():
            if found := pattern.search(line):
                self.stop()
                self.stages[found[1]] = (became, 0.0)
                self._begun = (found[1], self._now())
                return True
        return False

    def stop(self) -> None:
        """The stage that runs has ended."""
        if self._begun:
            name, since = self._begun
            self.stages[name] = (self.stages[name][0], self._now() - since)
            self._begun = None

    @property
    def share_done(self) -> float:
        """Stages that are behind us, as a share of all; the one that runs is not."""
        return max(0, len(self.stages) - 1) / len(STAGES)

    @property
    def text(self) -> str:
        """What happens now, as in `train: ran`."""
        return ", ".join(f"{name}: {became}" for name, (became, _) in list(self.stages.items())[-1:])

    def rows(self) -> list[dict[str, str | float]]:
        """A row a stage for a table."""
        return [
            {"stage": name, "outcome": became, "seconds": round(seconds, 1)}
            for name, (became, seconds) in self.stages.items()
        ]
