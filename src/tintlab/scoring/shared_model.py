"""A model for machines that share only a store: copied there once, and fetched once by each worker.

The copy lies beside the state of the scoring, in a folder that is named by the sha256 of its files. The sums
travel with the settings and not with the copy, so a copy that was damaged or replaced is refused.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

from tintlab.inference.mlflow_model import MODEL_FILES, file_hashes
from tintlab.scoring.manifest import STATE
from tintlab.scoring.settings import ScoreSettings
from tintlab.sources import stores
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_folder, file_sha256
from tintlab.system.locks import exclusive

_MINUTES = 10 * 60.0


def share_model(settings: ScoreSettings) -> ScoreSettings:
    """Copy the model to OUTPUT in a store, unless it is there.

    Returns:
        The settings for `fetch_model`.

    Raises:
        StoreError: the store may not be written to, or stays away.
    """
    sums = file_hashes(settings.model_folder)
    shared = replace(settings, shared_files=tuple(sorted(sums.items())))
    store, folder = stores.open_store(settings.store), _name(shared)
    there = {one.name: one.size for one in store.files(folder)}
    for name in MODEL_FILES:
        data = (settings.model_folder / name).read_bytes()
        if there.get(f"{folder}/{name}") != len(data):
            store.write(f"{folder}/{name}", data)
    return shared


def fetch_model(settings: ScoreSettings) -> Path:
    """The folder of the model on this machine; it is fetched where it is not there yet, or damaged.

    Args:
        settings: from `share_model`.

    Raises:
        TintlabError: the copy in the store is another one, or is gone.
        StoreError: the store may not be read, or stays away.
    """
    folder = paths.stores() / "models" / Path(_name(settings)).name
    with exclusive(folder.with_suffix(".lock"), "another fetching of this model", _MINUTES):
        if not _is_whole(folder, settings):
            with atomic_folder(folder) as temporary:
                _fetch(settings, temporary)
    return folder


def _fetch(settings: ScoreSettings, folder: Path) -> None:
    store, place = stores.open_store(settings.store), _name(settings)
    for name, sha256 in settings.shared_files:
        shown = settings.file(Path(place, name))
        try:
            data = store.read(f"{place}/{name}")
        except FileNotFoundError:
            raise TintlabError(f"{shown} is gone: start the scoring again") from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise TintlabError(f"{shown} has another sha256 than the model: delete it, and start again")
        (folder / name).write_bytes(data)


def _is_whole(folder: Path, settings: ScoreSettings) -> bool:
    return all(
        (folder / name).is_file() and file_sha256(folder / name) == sha256
        for name, sha256 in settings.shared_files
    )


def _name(settings: ScoreSettings) -> str:
    """Of the folder in the store, below OUTPUT."""
    sums = "".join(sha256 for _, sha256 in settings.shared_files)
    return f"{STATE}/model/{hashlib.sha256(sums.encode()).hexdigest()[:16]}"
