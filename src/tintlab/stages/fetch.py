"""fetch: copy photographs from all sources into data/raw/, and write their facts to data/photos.csv."""

import csv
import functools
import hashlib
import io
import re
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
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
from tintlab.stages.fetch_ledger import Candidate, Ledger
from tintlab.system import console, entry_point, paths, processes
from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_folder, read_json
from tintlab.system.params import FetchParams, load_params
from tintlab.system.tables import SCHEMAS, batched, open_writer

_LARGEST_ATTRIBUTION = 64 << 20  # bytes
_MOST_COLUMNS = 64
_ATTRIBUTION_COLUMNS = list(SCHEMAS[paths.ATTRIBUTION.name])
_LEDGER = "candidates.sqlite"
_ROWS = 1000
"""Rows of a table that are written at once."""
_CHUNK = 8
_MOST_CRASHES = 10
_NOT_PHOTOGRAPHS = {".csv", ".txt", ".md", ".json", ".html", ".xml", ".pdf", ".xmp"}


@dataclass(frozen=True)
class Counts:
    """How many photographs there are, files with the same content, and files that can't be read."""

    photographs: int
    copies: int
    unreadable: int


def gather(
    source: Path,
    folder: Path,
    ledger: Ledger,
    limits: Limits = DEFAULT_LIMITS,
    follow_links: bool = False,
) -> Iterator[Candidate]:
    """Copy every file of a source that may be a photograph into `folder`, named by its hash.

    Raises:
        TintlabError: see `archives.read_members`; or a broken attribution table.
    """
    ledger.forget_attributions()
    for member in archives.read_members(source, paths.ATTRIBUTION_NAME, limits, follow_links):
        try:
            ledger.note_attributions(attributions(member.data))
        except (csv.Error, ValueError) as error:
            raise TintlabError(
                f"{source} holds a broken {console.printable(str(member.name))} ({error}): repair or remove it"
            ) from None
    has_table = ledger.has_attributions()
    for member in archives.read_members(source, None, limits, follow_links):
        if member.name.suffix.lower() in _NOT_PHOTOGRAPHS:
            continue
        sha256 = hashlib.sha256(member.data).hexdigest()
        (folder / sha256).write_bytes(member.data)
        row = ledger.attribution_of(member.name.name) if has_table else {}
        folders = member.name.parts[:-1]
        yield Candidate(
            sha256=sha256,
            origin=console.printable(f"{source.name}/{member.name}"),
            category=row.get("category")
            or (console.printable(folders[0]) if folders and not has_table else ""),
            attribution={name: text for name, text in row.items() if name in _ATTRIBUTION_COLUMNS},
        )


def attributions(data: bytes) -> Iterator[tuple[str, dict[str, str]]]:
    """Read an attribution table: file names with their rows of printable text.

    Raises:
        csv.Error: it is not a CSV table.
        ValueError: it is too large for an attribution table.
    """
    if len(data) > _LARGEST_ATTRIBUTION:
        raise ValueError(f"larger than {_LARGEST_ATTRIBUTION >> 20} MB")
    rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig", "replace")))
    if len(rows.fieldnames or ()) > _MOST_COLUMNS:
        raise ValueError(f"more than {_MOST_COLUMNS} columns")
    for row in rows:
        if row.get("file"):
            # Cells past the last column have no name; missing cells are None.
            yield row["file"], {name: console.printable(text or "") for name, text in row.items() if name}


def salted_hash(sha256: str, salt: str) -> str:
    """The hash by which a limit chooses: not that of `split`, or it would keep the test split first."""
    return hashlib.sha256(f"limit {salt} {sha256}".encode()).hexdigest()


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
    candidates: Iterable[Candidate], read: Callable[[Candidate], dict[str, Any]], folder: Path
) -> Iterator[dict[str, Any]]:
    """Read all candidates with several processes; yields their rows in order.

    If a process crashes, each of the candidates underway is read by its own process. A candidate that crashes its
    own process gets a reason instead of facts.

    Raises:
        BrokenProcessPool: many candidates crash, so the cause is the machine and not the files.
    """
    waiting, underway = iter(candidates), deque[Candidate]()

    def taken() -> Iterator[Candidate]:
        for candidate in waiting:
            underway.append(candidate)
            yield candidate

    crashed = 0
    while True:
        try:
            with processes.worker_pool() as pool:
                for row in processes.map_in_order(pool, read, taken(), _CHUNK):
                    underway.popleft()
                    yield row
            return
        except BrokenProcessPool:
            while underway:
                candidate = underway.popleft()
                try:
                    with processes.worker_pool(1) as pool:
                        row = pool.submit(read, candidate).result()
                except BrokenProcessPool:
                    crashed += 1
                    if crashed > _MOST_CRASHES:
                        raise
                    row = _facts_of_none(candidate, folder) | {"problem": "its decoder crashes"}
                yield row


def file_name(candidate: Candidate, picture_format: str) -> str:
    """A plain, unique name for data/raw/: letters and digits of the origin, and eight digits of the hash."""
    stem = (
        unicodedata.normalize("NFKD", PurePosixPath(candidate.origin).stem).encode("ascii", "ignore").decode()
    )
    plain = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:48] or "photo"
    return f"{plain}-{candidate.sha256[:8]}.{picture_format.lower()}"


def fetch(
    origins: Iterable[Path],
    params: FetchParams,
    max_megapixels: float,
    raw: Path,
    write_photos: Callable[[pd.DataFrame], None],
    write_attribution: Callable[[pd.DataFrame], None],
) -> Counts:
    """Copy photographs from folders and archives into `raw`, and write their facts and attributions.

    Of files with the same content the first counts. A limit keeps the smallest salted hashes. An unreadable file
    gets a row with the reason, and no copy in `raw`.

    Args:
        origins: folders and archives.
        params: limits.
        max_megapixels: see `read_photo`.
        raw: an empty folder.
        write_photos: takes rows of `paths.PHOTOS`, sorted by hash, part by part.
        write_attribution: takes rows of `paths.ATTRIBUTION`, sorted by photo, part by part.

    Raises:
        TintlabError: a source can't be read, or there are no photographs.
    """
    limits = Limits(params.max_files, params.max_gigabytes, params.max_ratio)
    linked = {Path(source.path) for source in params.sources if source.follow_links}
    ledger_file = raw / _LEDGER
    with closing(Ledger(ledger_file)) as ledger:
        found = (one for origin in origins for one in gather(origin, raw, ledger, limits, origin in linked))
        for candidate in console.progress(found, "files", "gathering"):
            ledger.add(candidate, salted_hash(candidate.sha256, params.salt))
        if params.limit is not None:
            for sha256 in ledger.drop_beyond(params.limit):
                (raw / sha256).unlink()
        read = functools.partial(read_facts, folder=raw, max_megapixels=max_megapixels)
        rows = console.progress(read_all(ledger.candidates(), read, raw), "photos", "reading", len(ledger))
        photographs = copies = unreadable = 0
        for part in batched(rows, _ROWS):
            for row in part:
                copies += row["copies"]
                if row["photo"]:
                    photographs += 1
                    ledger.name(row["sha256"], row["photo"])
                    (raw / row["sha256"]).rename(raw / row["photo"])
                else:
                    unreadable += 1
                    (raw / row["sha256"]).unlink()
            write_photos(pd.DataFrame(part))
        if not photographs:
            cause = f" ({unreadable} files can't be read as photographs)" if unreadable else ""
            raise TintlabError(
                f"no photographs{cause}: put some into {paths.INBOX}/, or set fetch.starter: true in params.yaml"
            )
        for attributed in batched(ledger.named_attributions(), _ROWS):
            write_attribution(pd.DataFrame(attributed, columns=_ATTRIBUTION_COLUMNS, dtype="str").fillna(""))
    ledger_file.unlink()
    return Counts(photographs, copies, unreadable)


def main() -> None:
    """Run the stage on the files in dvc.yaml."""
    params = load_params()
    lock = read_json(paths.SOURCES_LOCK)
    named = [sources_lock.locate_source(source, lock) for source in params.fetch.sources]
    origins = [*([paths.STARTER] if params.fetch.starter else []), sources_lock.find_inbox(lock), *named]
    with (
        open_writer(paths.ATTRIBUTION) as attribution,
        open_writer(paths.PHOTOS) as photos,
        atomic_folder(paths.RAW) as raw,
    ):
        counts = fetch(
            origins,
            params.fetch,
            params.photos.max_megapixels,
            raw,
            photos.append,
            attribution.append,
        )
    print(
        f"{counts.photographs} photographs from {len(origins)} sources; left out: "
        f"{counts.copies} copies of these, {counts.unreadable} unreadable files"
    )


if __name__ == "__main__":
    entry_point.run_stage(main)
