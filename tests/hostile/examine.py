"""Hostile files one by one, each in a process of its own: what became of it, how long it took, how much memory.

`python -m tests.hostile.examine` makes the corpus and takes it through every way in: colorize, fetch, score, the
registered model, and the same model behind `mlflow models serve`.
"""

import contextlib
import ctypes
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from tests.hostile import corpus
from tests.hostile.servers import ask, model_server
from tests.stages.fetched import fetched
from tintlab.gan.model_files import save_generator
from tintlab.gan.unet import UNet
from tintlab.imaging.photos import PhotoError, read_photo
from tintlab.inference.colorizer import Colorizer
from tintlab.scoring.chunk import load_colorizer, score_photo
from tintlab.scoring.plan import PlannedPhoto
from tintlab.scoring.settings import Options, settings_for
from tintlab.scoring.targets import as_text
from tintlab.stages.fetch import gather, read_facts
from tintlab.stages.fetch_ledger import Ledger
from tintlab.system.errors import TintlabError
from tintlab.system.memory import keep_freed_memory
from tintlab.system.params import load_params

MEGAPIXELS = 200.0
MOST_SECONDS = 10.0
MOST_MEGABYTES = 1000.0
PATIENCE = 60
"""Seconds of the processor until a file is given up; ten times as many of the clock, for busy machines."""

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Finding:
    """What became of a file.

    Attributes:
        path: of the file.
        outcome: `used`, `refused: …` with the reason, or `crashed: …`.
        seconds: of the processor.
        megabytes: at the most, above what the process had before.
    """

    path: Path
    outcome: str
    seconds: float
    megabytes: float

    @property
    def is_handled(self) -> bool:
        """Whether it was used or refused, in time and within the memory that is allowed."""
        known = self.outcome == "used" or self.outcome.startswith("refused: ")
        return known and self.seconds <= MOST_SECONDS and self.megabytes <= MOST_MEGABYTES


def files_in(folder: Path) -> list[Path]:
    """All entries that are no folders, sorted; also links and pipes."""
    return sorted(Path(parent, name) for parent, _, names in os.walk(folder) for name in names)


def tiny_model(folder: Path) -> Path:
    """A small generator with random weights, as a trained one lies on disk."""
    torch.manual_seed(0)
    config = {"generator": "unet", "size": 32, "channels": 4, "dropout": 0.0, "z_dim": 0, "working_size": 64}
    save_generator(folder, UNet(32, 4, 0.0), config)
    return folder


def examine_files(files: Sequence[Path], use: Callable[[Path], object], batch: int = 1) -> list[Finding]:
    """Use the files in copies of this process, a copy for each batch; and for each file of a batch that is bad.

    In a batch, a file's memory includes what those before it took at the most.
    """
    found: list[Finding] = []
    for start in range(0, len(files), batch):
        some = files[start : start + batch]
        together = _examine_batch(some, use)
        if len(some) > 1 and not (
            len(together) == len(some) and all(finding.is_handled for finding in together)
        ):
            together = [finding for path in some for finding in _examine_batch([path], use)]
        found += together
    return found


def find_failures(files: Sequence[Path], use: Callable[[Path], object], batch: int = 50) -> list[Finding]:
    """Those that crash, hang or take too much."""
    return [finding for finding in examine_files(files, use, batch) if not finding.is_handled]


def _examine_batch(files: Sequence[Path], use: Callable[[Path], object]) -> list[Finding]:
    # What this process has freed and kept, a copy of it would use again, unseen.
    ctypes.CDLL(None).malloc_trim(0)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        for number in (signal.SIGALRM, signal.SIGPROF):
            signal.signal(number, signal.SIG_DFL)
        before = _megabytes()
        for path in files:
            signal.setitimer(signal.ITIMER_PROF, PATIENCE)
            signal.alarm(10 * PATIENCE)
            started = time.process_time()
            said = [_try_file(path, use), time.process_time() - started, _megabytes() - before]
            os.write(writing, json.dumps(said).encode() + b"\n")
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:  # noqa: PTH123
        lines = [json.loads(line) for line in pipe]
    _, status = os.waitpid(child, 0)
    found = [Finding(path, *said) for path, said in zip(files, lines, strict=False)]
    if len(found) < len(files):
        ended = f"crashed: ended by signal {os.WTERMSIG(status)}"
        found.append(Finding(files[len(found)], ended, float(PATIENCE), 0.0))
    return found


def _try_file(path: Path, use: Callable[[Path], object]) -> str:
    try:
        use(path)
    except TintlabError as error:
        return f"refused: {error}"
    except BaseException as error:
        return f"crashed: {error!r}"[:2000]
    return "used"


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# --- the ways in


def colorize(model: Path) -> Callable[[Path], object]:
    """Read a file and colour it."""
    colorizer = Colorizer.load(model)
    return lambda path: colorizer.colorize(read_photo(path, MEGAPIXELS))


def pyfunc(model: Path, folder: Path) -> Callable[[Path], object]:
    """Give a file's bytes to the registered model, as MLflow's server would."""
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.exceptions import MlflowException

    from tintlab.inference.mlflow_model import save_pyfunc

    save_pyfunc(model, folder)
    loaded = mlflow.pyfunc.load_model(str(folder))

    def use(path: Path) -> object:
        try:
            return loaded.predict(pd.DataFrame({"image": [path.read_bytes()]}))
        except MlflowException as error:  # the answer of status 400
            raise PhotoError(str(error)) from None

    return use


def fetch_one(folder: Path) -> Callable[[Path], object]:
    """Take a file through the fetch stage's steps, as a source of its own."""

    def use(path: Path) -> None:
        with (
            tempfile.TemporaryDirectory(dir=folder) as source,
            tempfile.TemporaryDirectory(dir=folder) as raw,
        ):
            (Path(source) / path.name).symlink_to(path)
            for candidate in gather(Path(source), Path(raw), Ledger(Path(raw) / "ledger")):
                if problem := read_facts(candidate, Path(raw), MEGAPIXELS)["problem"]:
                    raise PhotoError(problem)
                return
        raise PhotoError("left out for its name")

    return use


def score_one(model: Path, output: Path) -> Callable[[Path], object]:
    """Take a file through the steps of `tintlab score`, up to the coloured file."""
    settings = settings_for(output, str(model), Options())
    colorizer = load_colorizer(settings)

    def use(path: Path) -> None:
        keep_freed_memory()
        record = score_photo(PlannedPhoto(path, as_text(path), Path("coloured.png")), colorizer, settings)
        if record.outcome != "coloured":
            raise PhotoError(record.reason)

    return use


def examine_server(registered: Path, files: Sequence[Path]) -> list[Finding]:
    """Send files to `mlflow models serve`; times and memory are those of the server's processes.

    A file's memory includes what those before it took at the most.
    """
    with model_server(registered) as (server, address):
        before = _resident(server)
        findings = []
        for path in files:
            began = _processor_seconds(server)
            status, answer = ask(address, path.read_bytes())
            outcome = "used" if status == 200 else f"crashed: {status} {json.dumps(answer)[:2000]}"
            if status == 400 and "image 0 can't be used: " in answer["message"]:
                outcome = f"refused: {answer['message']}"
            seconds = _processor_seconds(server) - began
            findings.append(Finding(path, outcome, seconds, _resident(server, most=True) - before))
    return findings


def _family(server: psutil.Process) -> list[psutil.Process]:
    return [server, *server.children(recursive=True)]


def _processor_seconds(server: psutil.Process) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in _family(server))


def _resident(server: psutil.Process, most: bool = False) -> float:
    """Megabytes of the largest of the server's processes, now or at the most since it began."""
    field = "VmHWM" if most else "VmRSS"
    texts = (Path(f"/proc/{process.pid}/status").read_text() for process in _family(server))
    return max(int(text.partition(f"{field}:")[2].split()[0]) for text in texts) / 1024


def run_fetch(folder: Path, raw: Path) -> dict[str, str]:
    """What the fetch stage says of each content, by its sha256; empty where it was used."""
    params = load_params(ROOT / "params.yaml").fetch
    with contextlib.redirect_stderr(io.StringIO()):
        photos, _ = fetched([folder], params, MEGAPIXELS, raw)
    assert all(text.isprintable() for column in ("origin", "photo", "problem") for text in photos[column])
    return dict(zip(photos["sha256"], photos["problem"], strict=True))


def run_score(folder: Path, target: Path, model: Path) -> subprocess.CompletedProcess[bytes]:
    """Run `tintlab score`."""
    return subprocess.run(
        [sys.executable, "-m", "tintlab.cli", "score", str(folder), str(target), "--model", str(model)],
        capture_output=True,
        timeout=1500,
        cwd=target.parent,
        check=False,
    )


def format_counts(name: str, findings: Sequence[Finding]) -> str:
    """Counts and extremes on a line."""
    used = sum(finding.outcome == "used" for finding in findings)
    handled = sum(finding.is_handled for finding in findings)
    slowest = max(findings, key=lambda finding: finding.seconds)
    largest = max(findings, key=lambda finding: finding.megabytes)
    return (
        f"{name}: {len(findings)} files, {used} used, {handled - used} refused with a reason, "
        f"{len(findings) - handled} failed; at the most {slowest.seconds:.1f} s ({slowest.path.name!r}) "
        f"and {largest.megabytes:.0f} MB ({largest.path.name!r})"
    )


def main() -> None:
    """See the module."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{corpus.make(folder / 'corpus', large=True)} entries", flush=True)
        files = files_in(folder / "corpus")
        readable = [path for path in files if path.is_file() and path.parent.name != "links"]
        model = tiny_model(folder / "model")
        (folder / "raw").mkdir()
        ways = {
            "colorize": (files, lambda: colorize(model)),
            "fetch": (readable, lambda: fetch_one(folder / "raw")),
            "score": (files, lambda: score_one(model, folder / "one")),
            "registered model": (readable, lambda: pyfunc(model, folder / "pyfunc")),
        }
        for way, (some, make) in ways.items():
            print(format_counts(way, examine_files(some, make(), 20)), flush=True)
        print(format_counts("served", examine_server(folder / "pyfunc", readable)), flush=True)
        problems = run_fetch(folder / "corpus", folder / "raw").values()
        refused = sum(map(bool, problems))
        print(
            f"fetch, the whole stage: {len(problems)} contents, {len(problems) - refused} used, "
            f"{refused} refused with a reason",
            flush=True,
        )
        ended = run_score(folder / "corpus", folder / "coloured", model)
        print(f"tintlab score: status {ended.returncode}, {ended.stdout.decode().splitlines()[0]}")


if __name__ == "__main__":
    main()
