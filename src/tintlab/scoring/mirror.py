"""The state of a scoring to a store: a working folder on this machine, and its copy in the store.

Journals can't be appended to in a store. So each machine has a working folder, which is what OUTPUT is on a disk:
settings, lock, journal, parts. Each finished part goes to the store at once, under a name that no other machine
uses. A new machine starts with what the store has. A killed process goes on with its journal; where the whole
working folder is lost, the photographs since its last part are coloured again, to the same bytes.

A number, the generation, changes whenever a scoring starts over. A process that finds another generation in the
store than its own stops, so that the files of two models are not mixed.
"""

import hashlib
import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tintlab.scoring.manifest import PAGE, SETTINGS, STATE, parts_folder
from tintlab.sources import stores
from tintlab.sources.store_faults import StoreError
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import write_bytes, write_text
from tintlab.system.locks import exclusive, find_holder

LOCK = "lock"
_GENERATION, _MACHINE = "generation", "machine"
_PARTS = "parts"
_OWN = re.compile(r"(?P<name>.+\.\d{5})\.parquet")
_PATIENCE = 600.0  # seconds, for another worker of this machine
_SMALL = 1 << 28  # bytes of a part; two thousand rows are half a megabyte


def resolve_output(text: str) -> tuple[Path, str]:
    """The folder that stands for OUTPUT on this machine, and its URL, which is empty for a folder.

    Args:
        text: a path or a URL, as the user named it.

    Raises:
        TintlabError: the URL can't name a folder in a store; see also `pull`.
    """
    if not stores.is_store(text):
        return Path(text), ""
    url = stores.open_store(text).url
    return pull(url), url


def working_folder(url: str) -> Path:
    """The folder on this machine that stands for OUTPUT in a store."""
    return paths.stores() / hashlib.sha256(url.encode()).hexdigest()[:16]


def pull(url: str) -> Path:
    """Bring the working folder up to date with the store; nothing is written to the store.

    Args:
        url: of OUTPUT.

    Returns:
        The working folder.

    Raises:
        StoreError: there is no such bucket, it may not be listed, or the store stays away.
    """
    store, folder = stores.open_store(url), working_folder(url)
    if store.is_read_only:
        raise TintlabError(f"{url} can only be read: name a folder or a store for OUTPUT")
    state = folder / STATE
    if find_holder(state / LOCK):  # its own scoring keeps it
        return folder
    with exclusive(state / "pull.lock", f"another look at {url}", _PATIENCE):
        _pull(store, folder)
    return folder


def pull_results(url: str) -> None:
    """Fetch the parts that other machines have written meanwhile, and a contact sheet that may not be ours."""
    store = stores.open_store(url)
    page = working_folder(url) / PAGE
    if not page.exists():
        with suppress(FileNotFoundError):
            write_bytes(page, store.read(PAGE))
    _pull_parts(
        store, working_folder(url), {one.name.removeprefix(f"{STATE}/") for one in store.files(STATE)}
    )


def begin(url: str, starts_over: bool) -> None:
    """Write the settings to the store, and the parts that it lacks; where it starts over, the old parts go first.

    Call it while the working folder is locked and has the new settings.

    Raises:
        StoreError: the store may not be written to, or it stays away.
    """
    store, folder = stores.open_store(url), working_folder(url)
    state = folder / STATE
    generation = _read(state / _GENERATION)
    if starts_over or not generation:
        generation = uuid.uuid4().hex
        store.write(f"{STATE}/{_GENERATION}", generation.encode())
        store.delete([one.name for one in store.files(f"{STATE}/{_PARTS}")])
        write_text(state / _GENERATION, generation)
    store.write(f"{STATE}/{SETTINGS}", (state / SETTINGS).read_bytes())
    there = {one.name for one in store.files(f"{STATE}/{_PARTS}")}
    for path in _own_parts(folder):
        if _name_in_store(path) not in there:
            push_part(url, path)


def push_part(url: str, path: Path) -> None:
    """Copy a finished part to the store.

    Raises:
        TintlabError: another scoring has started over in the meantime.
        StoreError: the store refuses, or stays away.
    """
    store = stores.open_store(url)
    ours = _read(working_folder(url) / STATE / _GENERATION)
    try:
        theirs = store.read(f"{STATE}/{_GENERATION}").decode()
    except FileNotFoundError:
        theirs = ""
    if ours != theirs:
        raise StoreError(f"another scoring to {url} has started over with other settings: this one stops")
    store.write(_name_in_store(path), path.read_bytes())


def finish(url: str) -> None:
    """Copy the manifest and what lies beside it to the store."""
    store, folder = stores.open_store(url), working_folder(url)
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            store.write(path.name, path.read_bytes())


def _pull(store: stores.Store, folder: Path) -> None:
    state = folder / STATE
    found = {one.name: one for one in store.files(STATE)}
    names = {name.removeprefix(f"{STATE}/") for name in found}
    generation = store.read(f"{STATE}/{_GENERATION}").decode() if _GENERATION in names else ""
    if generation != _read(state / _GENERATION):
        _clear(folder)
        write_text(state / _GENERATION, generation)
    if SETTINGS in names:
        write_bytes(state / SETTINGS, store.read(f"{STATE}/{SETTINGS}"))
    _pull_parts(store, folder, names)


def _pull_parts(store: stores.Store, folder: Path, names: set[str]) -> None:
    machine = _machine(folder)
    for name in sorted(names):
        place = name.removeprefix(f"{_PARTS}/")
        if place == name or "/" in place or not place.endswith(".parquet") or f".{machine}." in place:
            continue
        if not (parts_folder(folder) / place).exists():
            with suppress(FileNotFoundError):
                write_bytes(parts_folder(folder) / place, store.read(f"{STATE}/{name}", _SMALL))


def _own_parts(folder: Path) -> Iterator[Path]:
    """The parts that this machine has written; each run lists skipped files again."""
    for path in sorted(parts_folder(folder).glob("*.parquet")):
        if _OWN.fullmatch(path.name) and not path.name.startswith("skipped."):
            yield path


def _name_in_store(path: Path) -> str:
    stem = path.name.removesuffix(".parquet")
    return f"{STATE}/{_PARTS}/{stem}.{_machine(path.parents[2])}.parquet"


def _machine(folder: Path) -> str:
    """A name of this working folder, and no other."""
    path = folder / STATE / _MACHINE
    if not path.exists():
        write_text(path, uuid.uuid4().hex[:12])
    return path.read_text(encoding="utf-8")


def _clear(folder: Path) -> None:
    for path in [*parts_folder(folder).glob("*"), folder / STATE / SETTINGS, folder / STATE / _MACHINE]:
        path.unlink(missing_ok=True)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
