"""fetch: copy photographs from all sources into data/raw/, and write their facts to data/photos.csv."""

import csv
import dataclasses
import functools
import hashlib
import io
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path, PurePosixPath
from typing import Any

import imagehash
import numpy as np
import pandas as pd
from PIL import Image

from tintlab.imaging import color
from tintlab.imaging.photos import PhotoError, read_photo
from tintlab.sources import archives
from tintlab.sources import lock as sources_lock
from tintlab.sources.limits import DEFAULT_LIMITS, Limits
from tintlab.system import console, entry_point, paths, processes
from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_folder, read_json
from tintlab.system.params import FetchParams, load_params
from tintlab.system.tables import write_table

_LARGEST_ATTRIBUTION = 64 << 20  # bytes
_MOST_COLUMNS = 64
_CHUNK = 8
_MOST_CRASHES = 10
_NOT_PHOTOGRAPHS = {".csv", ".txt", ".md", ".json", ".html", ".xml", ".pdf", ".xmp"}


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A file that may be a photograph, copied into our folder under its hash.

    Attributes:
        sha256: of its bytes, 64 hexadecimal digits. Its name in the folder until it is read.
        origin: source and path within it, printable.
        category: from the source's attribution table, else its first folder.
        attribution: its row in the source's attribution table.
        copies: number of other files with the same bytes.
    """

    sha256: str
    origin: str
    category: str
    attribution: dict[str, str]
    copies: int = 0


def gather(
    source: Path,
    folder: Path,
    limits: Limits = DEFAULT_LIMITS,
    follow_links: bool = False,
) -> Iterator[Candidate]:
    """Copy every file of a source that may be a photograph into `folder`, named by its hash.

    Raises:
        TintlabError: see `archives.read_members`; or a broken attribution table.
    """
    table: dict[str, dict[str, str]] = {}
    for member in archives.read_members(source, paths.ATTRIBUTION_NAME, limits, follow_links):
        try:
            table |= attributions(member.data)
        except (csv.Error, ValueError) as error:
            raise TintlabError(
                f"{source} holds a broken {console.printable(str(member.name))} ({error}): repair or remove it"
            ) from None
    for member in archives.read_members(source, None, limits, follow_links):
        if member.name.suffix.lower() in _NOT_PHOTOGRAPHS:
            continue
        sha256 = hashlib.sha256(member.data).hexdigest()
        (folder / sha256).write_bytes(member.data)
        row = table.get(member.name.name, {})
        folders = member.name.parts[:-1]
        yield Candidate(
            sha256=sha256,
            origin=console.printable(f"{source.name}/{member.name}"),
            category=row.get("category") or (console.printable(folders[0]) if folders and not table else ""),
            attribution=row,
        )


def attributions(data: bytes) -> dict[str, dict[str, str]]:
    """Read an attribution table: rows of printable text by file name.

    Raises:
        csv.Error: it is not a CSV table.
        ValueError: it is too large for an attribution table.
    """
    if len(data) > _LARGEST_ATTRIBUTION:
        raise ValueError(f"larger than {_LARGEST_ATTRIBUTION >> 20} MB")
    rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig", "replace")))
    if len(rows.fieldnames or ()) > _MOST_COLUMNS:
        raise ValueError(f"more than {_MOST_COLUMNS} columns")
    # Cells past the last column have no name; missing cells are None.
    return {
        row["file"]: {name: console.printable(text or "") for name, text in row.items() if name}
        for row in rows
        if row.get("file")
    }


def select_candidates(found: Iterable[Candidate], limit: int | None, salt: str) -> list[Candidate]:
    """Keep the first candidate of each content, sorted by hash; a limit keeps the smallest salted hashes."""
    unique: dict[str, Candidate] = {}
    copies: Counter[str] = Counter()
    for candidate in found:
        first = unique.setdefault(candidate.sha256, candidate)
        copies[candidate.sha256] += candidate is not first

    def salted(sha256: str) -> str:
        # Not the hash of `split`: with the same salt a limit would keep the test split first.
        return hashlib.sha256(f"limit {salt} {sha256}".encode()).hexdigest()

    kept = sorted(unique, key=salted)[:limit]
    return [dataclasses.replace(unique[sha256], copies=copies[sha256]) for sha256 in sorted(kept)]


def read_facts(candidate: Candidate, folder: Path, max_megapixels: float) -> dict[str, Any]:
    """Read a candidate for data/photos.csv: the facts of a photograph, or the reason why it can't be read."""
    row = _facts_of_none(candidate, folder)
    try:
        photo = read_photo(folder / candidate.sha256, max_megapixels)
    except PhotoError as error:
        return row | {"problem": str(error)}
    picture = Image.fromarray(photo.rgb())
    # A copy of about 512 px is accurate enough for these statistics.
    factor = max(picture.size) // 512
    small = np.asarray(picture.reduce(factor) if factor > 1 else picture)
    spread = np.percentile(color.rgb_to_lab(small).reshape(-1, 3), [1, 99], axis=0)
    (l_low, a_low, b_low), (l_high, a_high, b_high) = spread.tolist()
    return row | {
        "photo": file_name(candidate, photo.format),
        "format": photo.format,
        "mode": photo.mode,
        "width": photo.width,
        "height": photo.height,
        "phash": str(imagehash.phash(picture)),
        "colourfulness": color.colourfulness(small),
        "l_low": l_low,
        "l_high": l_high,
        "a_low": a_low,
        "a_high": a_high,
        "b_low": b_low,
        "b_high": b_high,
    }


def _facts_of_none(candidate: Candidate, folder: Path) -> dict[str, Any]:
    """The row of an unread candidate."""
    return {
        "photo": "",
        "origin": candidate.origin,
        "category": candidate.category,
        "sha256": candidate.sha256,
        "bytes": (folder / candidate.sha256).stat().st_size,
        "copies": candidate.copies,
        "format": "",
        "mode": "",
        "width": 0,
        "height": 0,
        "phash": "",
        "problem": "",
    }


def read_all(
    kept: list[Candidate], read: Callable[[Candidate], dict[str, Any]], folder: Path
) -> Iterator[dict[str, Any]]:
    """Read all candidates with several processes; yields their rows in order.

    If a process crashes, each of the next candidates is read by its own process. A candidate that crashes its own
    process gets a reason instead of facts.

    Raises:
        BrokenProcessPool: many candidates crash, so the cause is the machine and not the files.
    """
    done = crashed = 0
    while done < len(kept):
        try:
            with processes.worker_pool() as pool:
                for row in pool.map(read, kept[done:], chunksize=_CHUNK):
                    done += 1
                    yield row
        except BrokenProcessPool:
            for candidate in kept[done : done + _CHUNK * ((os.cpu_count() or 1) + 2)]:
                try:
                    with processes.worker_pool(1) as pool:
                        row = pool.submit(read, candidate).result()
                except BrokenProcessPool:
                    crashed += 1
                    if crashed > _MOST_CRASHES:
                        raise
                    row = _facts_of_none(candidate, folder) | {"problem": "its decoder crashes"}
                done += 1
                yield row


def file_name(candidate: Candidate, picture_format: str) -> str:
    """A plain, unique name for data/raw/: letters and digits of the origin, and eight digits of the hash."""
    stem = (
        unicodedata.normalize("NFKD", PurePosixPath(candidate.origin).stem).encode("ascii", "ignore").decode()
    )
    plain = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:48] or "photo"
    return f"{plain}-{candidate.sha256[:8]}.{picture_format.lower()}"


def fetch(
    origins: Iterable[Path], params: FetchParams, max_megapixels: float, raw: Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Copy photographs from folders and archives into `raw`. Returns their table and their attributions.

    An unreadable file gets a row with the reason, and no copy in `raw`.

    Raises:
        TintlabError: a source can't be read, or there are no photographs.
    """
    limits = Limits(params.max_files, params.max_gigabytes, params.max_ratio)
    linked = {Path(source.path) for source in params.sources if source.follow_links}
    found = (one for origin in origins for one in gather(origin, raw, limits, origin in linked))
    kept = select_candidates(console.progress(found, "files", "gathering"), params.limit, params.salt)
    read = functools.partial(read_facts, folder=raw, max_megapixels=max_megapixels)
    rows = list(console.progress(read_all(kept, read, raw), "photos", "reading", len(kept)))
    attributions = []
    for candidate, row in zip(kept, rows, strict=True):
        if row["photo"]:
            (raw / candidate.sha256).rename(raw / row["photo"])
            attributions.append(candidate.attribution | {"photo": row["photo"]})
    for leftover in {file.name for file in raw.iterdir()} - {row["photo"] for row in rows}:
        (raw / leftover).unlink()
    if not attributions:
        unreadable = f" ({len(rows)} files can't be read as photographs)" if rows else ""
        raise TintlabError(
            f"no photographs{unreadable}: "
            f"put some into {paths.INBOX}/, or set fetch.starter: true in params.yaml"
        )
    return pd.DataFrame(rows), pd.DataFrame(attributions).sort_values("photo", ignore_index=True)


def main() -> None:
    """Run the stage on the files in dvc.yaml."""
    params = load_params()
    lock = read_json(paths.SOURCES_LOCK)
    named = [sources_lock.locate_source(source, lock) for source in params.fetch.sources]
    origins = [*([paths.STARTER] if params.fetch.starter else []), sources_lock.find_inbox(lock), *named]
    with atomic_folder(paths.RAW) as raw:
        photos, attribution = fetch(origins, params.fetch, params.photos.max_megapixels, raw)
    write_table(photos, paths.PHOTOS)
    write_table(attribution.fillna(""), paths.ATTRIBUTION)
    unreadable, copies = int((photos["problem"] != "").sum()), int(photos["copies"].sum())
    print(
        f"{len(photos) - unreadable} photographs from {len(origins)} sources; left out: "
        f"{copies} copies of these, {unreadable} unreadable files"
    )


if __name__ == "__main__":
    entry_point.run_stage(main)
