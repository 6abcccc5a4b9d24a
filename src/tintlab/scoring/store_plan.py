"""Plan a scoring from an object store: find the photographs of a folder, and name their coloured files."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from tintlab.imaging.encoding import SUFFIXES
from tintlab.scoring.manifest import STATE
from tintlab.scoring.pattern import is_pattern, matches
from tintlab.scoring.plan import NO_PHOTOS, Plan, PlannedPhoto, Skipped
from tintlab.scoring.settings import ScoreSettings
from tintlab.scoring.targets import as_text, files_of, fold, name_targets
from tintlab.sources import stores
from tintlab.sources.stored_file import StoredFile
from tintlab.system.errors import TintlabError

_LONGEST_KEY = 1024  # bytes, in S3 and Azure


def plan_store(url: str, settings: ScoreSettings) -> Plan:
    """Plan the scoring of a folder in a store, as `plan.plan` does for folders on disk.

    A pattern begins at the first part of the URL with a wildcard. A key that no file could have, such as one with
    `..`, is left out and named.

    Args:
        url: of the folder, of one photograph, or of a folder with a pattern behind it.
        settings: name where the coloured files go.

    Raises:
        TintlabError: OUTPUT is INPUT, or a coloured file would overwrite a photograph.
        StoreError: there is no such bucket, it may not be listed, or the store stays away.
    """
    root, pattern = split_url(url)
    if settings.store and settings.store == root:
        raise TintlabError(f"{root} is INPUT itself: choose another folder for the coloured photographs")
    listed = _listed(root)
    outputs = _outputs(listed)
    ours = settings.store.removeprefix(f"{root}/") if settings.store.startswith(f"{root}/") else None
    photos: list[StoredFile] = []
    skipped: dict[str, Skipped] = {}
    for one in listed:
        if ours is not None and one.name.startswith(f"{ours}/"):
            continue
        if pattern and not matches(one.name.split("/"), pattern):
            continue
        left_out = _leave_out(one, outputs, bool(pattern))
        if left_out is None:
            photos.append(one)
        else:
            skipped.setdefault(left_out.name, left_out)
    photos.sort(key=lambda one: one.name)
    targets = name_targets([Path(one.name) for one in photos], SUFFIXES[settings.file_format])
    files = [file for target in targets for file in files_of(target, settings.variants)]
    _refuse_overwriting(root, photos, settings, files)
    planned = (
        PlannedPhoto(Path(one.name), as_text(Path(one.name)), target, one)
        for one, target in zip(photos, targets, strict=True)
    )
    return Plan(tuple(planned), tuple(sorted(skipped.values(), key=lambda one: one.name)))


def with_source(settings: ScoreSettings, source: str | Path) -> ScoreSettings:
    """The settings for photographs from here: a store is opened by every worker.

    Raises:
        TintlabError: the URL can't name a folder in a store.
    """
    text = str(source)
    if not stores.is_store(text):
        return settings
    return replace(settings, source_store=stores.open_store(split_url(text)[0]).url)


def split_url(url: str) -> tuple[str, tuple[str, ...]]:
    """The folder, and the parts of the pattern behind it; no parts where there is none."""
    parts = url.rstrip("/").split("/")
    for place, part in enumerate(parts[3:], 3):
        if is_pattern(part) and urlsplit(url).scheme != "https":
            return "/".join(parts[:place]), tuple(parts[place:])
    return "/".join(parts), ()


def _listed(root: str) -> list[StoredFile]:
    """The files of a folder; the folder may be a single photograph."""
    found = list(stores.open_store(root).files())
    if found or root.count("/") < 3:
        return found
    folder, _, name = root.rpartition("/")
    one = stores.open_store(folder).describe(name)
    if one is None:
        return []
    raise TintlabError(f"{root} is one photograph: name its folder, or a pattern such as {folder}/*.jpg")


def _outputs(listed: Iterable[StoredFile]) -> set[str]:
    """The folders that other scorings wrote to."""
    mark = f"/{STATE}/"
    return {one.name[: one.name.index(mark)] for one in listed if mark in one.name}


def _leave_out(one: StoredFile, outputs: set[str], with_hidden: bool) -> Skipped | None:
    """Why a file is not coloured, by its key; None where it is."""
    parts = one.name.split("/")
    if fault := _fault_of(one.name, parts):
        return Skipped(
            as_text(Path(one.name)), f"key that {fault}", f"its key {fault}: copy it to another", True
        )
    for end in range(1, len(parts)):
        folder = "/".join(parts[:end])
        if folder in outputs:
            return Skipped(f"{folder}/", "output of a scoring", "is the output of a scoring")
    for end, part in enumerate(parts, 1):
        if part.startswith(".") and not with_hidden:
            name = "/".join(parts[:end]) + ("/" if end < len(parts) else "")
            return Skipped(name, "hidden", "is hidden: its name begins with a dot")
    if Path(one.name).suffix.lower() in NO_PHOTOS:
        return Skipped(one.name, "by suffix", "no photograph by its suffix")
    return None


def _fault_of(name: str, parts: list[str]) -> str:
    """What no file's name may have; empty where the key has nothing of that."""
    if ".." in parts or name.startswith("/"):
        return "leads out of the folder"
    if "" in parts or "." in parts:
        return "has an empty part"
    if "\0" in name:
        return "has a zero byte"
    if any(len(part.encode("utf-8", "replace")) > 240 for part in parts) or len(name) > _LONGEST_KEY - 20:
        return "is too long"
    return ""


def _refuse_overwriting(
    root: str, photos: Iterable[StoredFile], settings: ScoreSettings, files: Iterable[Path]
) -> None:
    """Refuse a coloured file that would take the place of a photograph: OUTPUT may lie above INPUT."""
    if not settings.store or not root.startswith(f"{settings.store}/"):
        return
    above = root.removeprefix(f"{settings.store}/")
    known = {fold(f"{above}/{one.name}") for one in photos}
    for file in files:
        if fold(file) in known:
            raise TintlabError(
                f"{settings.store}/{as_text(file)} would overwrite a photograph: choose another folder for OUTPUT"
            )
