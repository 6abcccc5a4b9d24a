"""Remove from the state folder: abandoned trainings, finished spools, caches."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from tintlab.operations.gc.items import Item, Rules, day, size_of
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.params import load_params
from tintlab.tracking import interrupted, lineage, training_runs
from tintlab.tracking.spool import Spool, hold_lock, list_spools


def find_continued(rules: Rules) -> set[str]:
    """The fingerprints of unfinished trainings that stay: new ones, and the one that `dvc repro` would resume."""
    newest = [training.folder.name for training in interrupted.list_interrupted()[: rules.keep]]
    young = [
        training.folder.name for training in interrupted.list_interrupted() if rules.young(training.time)
    ]
    return {*newest, *young, *_present_training()}


def find_tracked(continued: set[str]) -> set[str]:
    """The fingerprints of trainings whose runs stay: the present model's, and those with waiting records."""
    waiting = {spool.fingerprint for spool in list_spools() if _waits(spool)}
    with suppress(TintlabError, FileNotFoundError):
        return {*continued, *waiting, training_runs.model_fingerprint()}
    return {*continued, *waiting}


def unused_checkpoints(continued: set[str]) -> Iterator[Item]:
    """Checkpoints of abandoned trainings."""
    for training in interrupted.list_interrupted():
        if training.folder.name not in continued:
            about = f"iteration {training.iteration}, {day(training.time)}"
            remove = partial(_remove_training, training.folder)
            yield Item("checkpoint", training.folder.name, about, size_of([training.folder]), remove)


def unused_spools(continued: set[str], rules: Rules) -> Iterator[Item]:
    """Spools whose records are all delivered or refused, of trainings that ended or can't be resumed."""
    for spool in list_spools():
        if _waits(spool) or not (spool.progress().ended or spool.fingerprint not in continued):
            continue
        refused = spool.undelivered()
        written = max((path.stat().st_mtime for path in spool.folder.iterdir()), default=0.0)
        if refused and rules.young(written):
            continue  # someone may want to read the reasons
        about = f"{refused} records that MLflow refused" if refused else "delivered; training abandoned"
        yield Item("spool", spool.fingerprint, about, size_of([spool.folder]), partial(_remove_spool, spool))


def unused_downloads(needed: Iterable[str]) -> Iterator[Item]:
    """Local copies of registered models, except the needed folders."""
    stay = set(needed)
    for folder in _inside(paths.downloaded_models()):
        if folder.is_dir() and not folder.name.startswith(".") and folder.name not in stay:
            yield Item(
                "downloaded model", folder.name, "", size_of([folder]), partial(_remove_folder, folder)
            )


def unused_explorations(needed: Iterable[str], rules: Rules) -> Iterator[Item]:
    """Results of `tintlab explore`, except those of models with the `needed` weights."""
    stay = {paths.explored_model(sha256) for sha256 in needed}
    for folder, written in _old(filter(Path.is_dir, _inside(paths.explored())), rules):
        if folder not in stay:
            remove = partial(_remove_folder, folder)
            yield Item("exploration", folder.name, f"of {day(written)}", size_of([folder]), remove)


def unused_engines(rules: Rules) -> Iterator[Item]:
    """Old graphs of converted models; colouring makes them again in some seconds."""
    for folder, written in _old(filter(Path.is_dir, _inside(paths.converted_models())), rules):
        remove = partial(_remove_folder, folder)
        yield Item("converted model", folder.name, f"of {day(written)}", size_of([folder]), remove)


def unused_verdicts(rules: Rules) -> Iterator[Item]:
    """Old figures and pages of judged models; `tintlab judge` writes them again."""
    for kind, place in (("judged figures", paths.judged()), ("verdict page", paths.verdicts())):
        for path, written in _old(filter(Path.is_file, _inside(place)), rules):
            remove = partial(path.unlink, missing_ok=True)
            yield Item(kind, path.name, f"of {day(written)}", size_of([path]), remove)


def _old(found: Iterable[Path], rules: Rules) -> Iterator[tuple[Path, float]]:
    """Paths that are neither new nor young, with their times; hidden ones are skipped."""
    times = {path: path.stat().st_mtime for path in found if not path.name.startswith(".")}
    for path in sorted(times, key=times.__getitem__, reverse=True)[rules.keep :]:
        if not rules.young(times[path]):
            yield path, times[path]


def _present_training() -> set[str]:
    """The fingerprint of the training that `dvc repro` would run now; looked up only if any is unfinished."""
    if not interrupted.list_interrupted():
        return set()
    with suppress(TintlabError, OSError):
        return {lineage.fingerprint(training_runs.training_inputs(load_params()))}
    return set()


def _waits(spool: Spool) -> bool:
    return any(True for _ in spool.pending(spool.progress().offset))


def _remove_training(folder: Path) -> None:
    with suppress(FileNotFoundError):
        interrupted.finish(folder)


def _remove_spool(spool: Spool) -> None:
    with suppress(FileNotFoundError), hold_lock(spool.folder):
        # First the records, as in `Spool.remove_if_done`: the rest is useless without them.
        spool.records.unlink(missing_ok=True)
        shutil.rmtree(spool.folder)


def _remove_folder(folder: Path) -> None:
    with suppress(FileNotFoundError):
        gone = folder.replace(folder.with_name(f".{folder.name}.gone"))
        shutil.rmtree(gone)


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
