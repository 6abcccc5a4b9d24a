"""`tintlab doctor`: check versions, disk, stores, locks and unfinished trainings, and advise."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tintlab.operations import dvc_repair
from tintlab.registry import old_code
from tintlab.system import checkout, paths
from tintlab.system.console import one_line
from tintlab.system.errors import TintlabError
from tintlab.system.locks import find_holder
from tintlab.system.params import load_params
from tintlab.tracking import delivery, interrupted, lineage, relocation, store

MIN_FREE_GB = 2.0
"""Room for several trainings of the default size, with caches and artifacts."""


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: the subject.
        state: its state.
        advice: empty if all is well.
    """

    name: str
    state: str
    advice: str = ""


def examine() -> list[Finding]:
    """Run all checks. Nothing is changed."""
    return [finding for look in _LOOKS for finding in look()]


def text(findings: list[Finding]) -> str:
    """One line per finding; those with advice are marked and followed by it."""
    lines = []
    for finding in findings:
        lines.append(f"{'!' if finding.advice else ' '} {finding.name:20}{finding.state}")
        if finding.advice:
            lines.append(f"{'':22}→ {finding.advice}")
    return "\n".join(lines)


def _place() -> Iterator[Finding]:
    """Which checkout this is, and which of its settings point elsewhere."""
    here = Path.cwd()
    if checkout.has_other_code():
        yield Finding(
            "code",
            f"{checkout.code_in_use()} runs, and differs from {here / 'src'}",
            "run `pip install -e .`",
        )
    elif (here / "src" / "tintlab").is_dir() and not checkout.code_in_use().is_relative_to(here):
        yield Finding("code", f"{checkout.code_in_use()} runs; it is the same as here")
    if (here / "dvc.yaml").exists() and not lineage.is_committed():
        yield Finding("git", "this folder is no repository, and DVC needs one", "run `git init`, then commit")
    shared = {"TINTLAB_STATE": os.environ.get("TINTLAB_STATE"), "MLFLOW_TRACKING_URI": _store_file()}
    for name, place in shared.items():
        if place and not Path(place).absolute().is_relative_to(here):
            yield Finding(
                "shared state", f"{name} names {place}, outside this checkout: others may use it too"
            )
    if store.is_default() and store.store_exists():
        for former in relocation.former_places(paths.tracking_database()):
            yield Finding("MLflow store", f"came from {former}; its records follow to {paths.state()} now")


def _store_file() -> str:
    """The database's file where MLFLOW_TRACKING_URI names one, else nothing."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return uri.removeprefix("sqlite:///") if uri.startswith("sqlite:///") else ""


def _versions() -> Iterator[Finding]:
    found = lineage.versions()
    yield Finding("versions", ", ".join(f"{name} {value}" for name, value in found.items() if name != "cpu"))
    missing = [name for name, value in found.items() if value == "not installed"]
    if missing:
        yield Finding("packages", f"{', '.join(missing)} missing", "run `make run`, or `pip install -e .`")


def _devices() -> Iterator[Finding]:
    import torch

    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        gpus.append("Apple GPU")
    yield Finding(
        "devices", f"{lineage.cpu_model()}; " + (", ".join(gpus) or "no GPU, which is fine but slow")
    )


def _params() -> Iterator[Finding]:
    try:
        load_params()
        yield Finding("params.yaml", "readable")
    except TintlabError as error:
        yield Finding("params.yaml", one_line(error), "correct that line")


def _disk() -> Iterator[Finding]:
    state = next(folder for folder in (paths.state(), *paths.state().parents) if folder.is_dir())
    for name, folder in (("disk here", Path()), ("disk of the state", state)):
        free = shutil.disk_usage(folder).free / 1e9
        yield Finding(
            name,
            f"{free:.1f} GB free at {folder.absolute()}",
            "" if free >= MIN_FREE_GB else "free some space: `tintlab gc` removes unused data",
        )


def _tracking() -> Iterator[Finding]:
    if not store.store_exists():
        yield Finding("MLflow", f"no store yet in {paths.state()}; the first training makes one")
        return
    # MLflow's client may wait long for an absent server.
    pool = ThreadPoolExecutor(1)
    answer = pool.submit(delivery.find_run, "none")
    try:
        answer.result(timeout=40)
        yield Finding("MLflow", f"reached at {store.shown_uri()}")
        yield from _serving_code()
    except TintlabError as error:
        yield Finding("MLflow", one_line(error), "start the server, or set MLFLOW_TRACKING_URI")
    except TimeoutError:
        yield Finding("MLflow", f"no answer from {store.shown_uri()} in 40 s", "look at the server")
    pool.shutdown(wait=False)


def _serving_code() -> Iterator[Finding]:
    for note in old_code.notes():
        fault, _, advice = note.partition(": ")
        yield Finding("registered code", fault, advice)


def _undelivered() -> Iterator[Finding]:
    waiting = delivery.backlog()
    if not waiting:
        yield Finding("records for MLflow", "all delivered")
    under_way = find_holder(paths.training_lock())
    for fingerprint, count in waiting.items():
        if under_way:
            yield Finding("records for MLflow", f"{count} of training {fingerprint} on their way")
            continue
        yield Finding(
            "records for MLflow",
            f"{count} of training {fingerprint} wait",
            f"run `tintlab sync`; what stays was refused, see {paths.spool() / fingerprint / 'refused.jsonl'}",
        )


def _dvc() -> Iterator[Finding]:
    fault = dvc_repair.dvc_lock_fault()
    yield Finding("dvc.lock", fault or "whole", "run `tintlab repro`, which repairs it" if fault else "")
    for line in dvc_repair.stale_locks():
        yield Finding("stale lock", line, "run `tintlab repro`, which removes it")


def _trainings() -> Iterator[Finding]:
    running = find_holder(paths.training_lock())
    if running:
        yield Finding("training", f"under way: {running}")
        return
    waiting = interrupted.list_interrupted()
    if not waiting:
        yield Finding("training", "none unfinished")
    for training in waiting:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(training.time))
        yield Finding(
            "unfinished training",
            f"{training.folder}, iteration {training.iteration}, {when}",
            f"{_who_goes_on(training)} if params, data and code are as then; else `rm -r {training.folder}`",
        )


def _who_goes_on(training: interrupted.Unfinished) -> str:
    """What continues an unfinished training; that depends on the working tree in which it ran."""
    if training.tree in (None, Path.cwd()):
        return "`dvc repro` goes on with it"
    if training.tree == paths.workspace():
        return "it is a scheduled retraining's, and the next one goes on with it"
    return f"it ran in {training.tree}, and `dvc repro` there goes on with it"


_LOOKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _place,
    _versions,
    _devices,
    _params,
    _disk,
    _dvc,
    _trainings,
    _tracking,
    _undelivered,
)
