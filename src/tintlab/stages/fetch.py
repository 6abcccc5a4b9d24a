"""fetch: gather photographs from all sources into data/raw/, and their facts into data/photos.csv."""

import csv
import hashlib
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from tintlab import color, paths, program, sources
from tintlab.errors import TintlabError
from tintlab.params import FetchParams, load_params
from tintlab.photos import PhotoError, read_photo
from tintlab.storage import atomic_folder, read_json
from tintlab.tables import write_table

_NOT_PHOTOGRAPHS = {".csv", ".txt", ".md", ".json", ".html", ".xml", ".pdf", ".xmp"}


@dataclass(frozen=True)
class Candidate:
    """A file that may be a photograph: where it came from, its bytes and its row in an attribution table."""

    origin: str
    category: str
    data: bytes
    attribution: dict[str, str]

    @property
    def sha256(self) -> str:
        """Content hash, 64 hexadecimal digits."""
        return hashlib.sha256(self.data).hexdigest()


def candidates(source: Path) -> Iterator[Candidate]:
    """Every file of a source that may be a photograph, with what its ATTRIBUTION.csv says of it.

    A source without such a table takes the name of the first folder within it as the category.

    Raises:
        TintlabError: see `sources.members`.
    """
    table: dict[str, dict[str, str]] = {}
    # Upper case sorts before lower, so a table at the top of a source usually comes first; two passes are sure.
    for member in sources.members(source):
        if member.name.name == paths.ATTRIBUTION_NAME:
            rows = csv.DictReader(io.StringIO(member.data.decode("utf-8", "replace")))
            table |= {row["file"]: row for row in rows if row.get("file")}
    for member in sources.members(source):
        if member.name.suffix.lower() in _NOT_PHOTOGRAPHS:
            continue
        row = table.get(member.name.name, {})
        folder = member.name.parts[0] if len(member.name.parts) > 1 else ""
        yield Candidate(
            origin=_printable(f"{source.name}/{member.name}"),
            category=row.get("category") or (_printable(folder) if not table else ""),
            data=member.data,
            attribution=row,
        )


def limited(found: Iterable[Candidate], limit: int | None, salt: str) -> list[Candidate]:
    """One candidate per content, sorted by hash; a limit keeps those with the smallest salted hashes."""
    unique: dict[str, Candidate] = {}
    for candidate in found:
        unique.setdefault(candidate.sha256, candidate)

    def salted(sha256: str) -> str:
        return hashlib.sha256((salt + sha256).encode()).hexdigest()

    kept = sorted(unique, key=salted)[:limit]
    return [unique[sha256] for sha256 in sorted(kept)]


def facts(candidate: Candidate, max_megapixels: float) -> dict[str, Any]:
    """The row of a candidate in data/photos.csv: facts of a photograph, or why it can't be read."""
    row: dict[str, Any] = {
        "photo": "",
        "origin": candidate.origin,
        "category": candidate.category,
        "sha256": candidate.sha256,
        "bytes": len(candidate.data),
        "width": 0,
        "height": 0,
        "problem": "",
    }
    try:
        photo = read_photo(candidate.data, max_megapixels)
    except PhotoError as error:
        return row | {"problem": str(error)}
    rgb = photo.rgb()
    # A 512 px copy tells these statistics to the digits that matter, at any resolution.
    small = np.asarray(_reduced(Image.fromarray(rgb), 512))
    spread = np.percentile(color.rgb_to_lab(small).reshape(-1, 3), [1, 99], axis=0)
    (l_low, a_low, b_low), (l_high, a_high, b_high) = spread.tolist()
    return row | {
        "photo": file_name(candidate, photo.format),
        "format": photo.format,
        "mode": photo.mode,
        "width": photo.width,
        "height": photo.height,
        "phash": str(imagehash.phash(Image.fromarray(rgb))),
        "colourfulness": color.colourfulness(small),
        "l_low": l_low,
        "l_high": l_high,
        "a_low": a_low,
        "a_high": a_high,
        "b_low": b_low,
        "b_high": b_high,
    }


def file_name(candidate: Candidate, picture_format: str) -> str:
    """A plain, unique name for data/raw/: the origin's letters and digits, and eight digits of the hash."""
    stem = unicodedata.normalize("NFKD", PurePosixPath(candidate.origin).stem).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:48] or "photo"
    return f"{plain}-{candidate.sha256[:8]}.{picture_format.lower()}"


def fetch(
    folders_and_archives: Iterable[Path], params: FetchParams, max_megapixels: float, raw: Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Gather photographs into the folder `raw`; return the tables of photographs and of attributions.

    Files that can't be read as photographs get a row with the reason and are not copied.

    Raises:
        TintlabError: a source can't be read, or there is no photograph at all.
    """
    chosen = limited(
        (candidate for source in folders_and_archives for candidate in candidates(source)), params.limit, params.salt
    )
    with ProcessPoolExecutor() as pool:
        rows = list(
            tqdm(
                pool.map(facts, chosen, [max_megapixels] * len(chosen), chunksize=8),
                total=len(chosen),
                desc="photographs",
                unit="photo",
            )
        )
    attributions = []
    for candidate, row in zip(chosen, rows, strict=True):
        if row["photo"]:
            (raw / row["photo"]).write_bytes(candidate.data)
            attributions.append(candidate.attribution | {"photo": row["photo"]})
    if not attributions:
        unreadable = f" ({len(rows)} files can't be read as photographs)" if rows else ""
        raise TintlabError(
            f"no photographs{unreadable}: drop some into {paths.INBOX}/, or set fetch.starter: true in params.yaml"
        )
    photos = pd.DataFrame(rows).sort_values("sha256", ignore_index=True)
    return photos, pd.DataFrame(attributions).sort_values("photo", ignore_index=True)


def main() -> None:
    """Run the stage on the files that dvc.yaml names."""
    params = load_params()
    lock = read_json(paths.SOURCES_LOCK)
    for source in params.fetch.sources:
        sources.check(source, lock)
    origins = [paths.STARTER] if params.fetch.starter else []
    origins += [paths.INBOX, *(Path(source.path) for source in params.fetch.sources)]
    with atomic_folder(paths.RAW) as raw:
        photos, attribution = fetch(origins, params.fetch, params.photos.max_megapixels, raw)
    write_table(photos.fillna({"format": "", "mode": "", "phash": ""}), paths.PHOTOS)
    write_table(attribution.fillna(""), paths.ATTRIBUTION)
    unreadable = int((photos["problem"] != "").sum())
    print(f"{len(photos) - unreadable} photographs from {len(origins)} sources, {unreadable} files can't be read")


def _printable(text: str) -> str:
    """Text that is safe in a table, a terminal and a page: control and surrogate characters are escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _reduced(image: Image.Image, side: int) -> Image.Image:
    factor = max(image.size) // side
    return image.reduce(factor) if factor > 1 else image


if __name__ == "__main__":
    program.run(main)
