"""validate: quarantine photographs that are unfit for training or judging, and stop if the whole set is unfit.

The rules are a Great Expectations suite written as code. A photograph that breaks a rule is left out. A set that
breaks a rule stops the pipeline.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tintlab.imaging.grids import make_thumbnail
from tintlab.imaging.photos import read_photo
from tintlab.reports.validation import validation_page
from tintlab.stages.validate_rules import SPLITS, Rule, photo_rules, set_rules
from tintlab.stages.validate_suite import Suite, Tally, build_data_docs, create_context
from tintlab.system import entry_point, paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_folder, write_json, write_text
from tintlab.system.params import ValidateParams, load_params
from tintlab.system.tables import (
    FLOAT,
    PHOTO_FACTS,
    SCHEMAS,
    SPLIT_COLUMNS,
    read_pieces,
    read_table,
    write_table,
)

ROWS = 20_000
"""Photographs that are checked at once."""
FACTS = {
    name: dtype for name, dtype in PHOTO_FACTS.items() if name not in ("bytes", "copies", "format", "mode")
}
"""The columns of `paths.PHOTOS` that the rules and the pages need."""

_KEPT = [
    *("photo", "split", "cluster", "category", "width", "height", "phash", "unknown_facts"),
    *("l_low", "l_high", "a_low", "a_high", "b_low", "b_high", "a_middle", "b_middle"),
]
_SAMPLES = 16
_THUMBNAILS = 60
_THUMBNAIL_SIDE = 200


@dataclass(frozen=True)
class Validation:
    """The outcome of `validate`.

    Attributes:
        accepted: columns of `paths.ACCEPTED`, sorted by photo.
        quarantine: columns of `paths.QUARANTINE`, sorted by origin.
        findings: every rule with its counts, ready for JSON; the same for the same input.
        faults: why the set is unfit, each with advice; empty if the pipeline may continue.
    """

    accepted: pd.DataFrame
    quarantine: pd.DataFrame
    findings: dict[str, Any]
    faults: tuple[str, ...]


def validate(
    photos: Iterable[pd.DataFrame],
    splits: pd.DataFrame,
    params: ValidateParams,
    data_docs: Path | None = None,
) -> Validation:
    """Check every photograph, then the photographs that pass as a set.

    Args:
        photos: columns `FACTS` of `paths.PHOTOS`, one row per file, in one or several parts.
        splits: the columns of `paths.SPLITS`.
        params: the limits of the rules.
        data_docs: an empty folder for Great Expectations' own pages; None for no pages.

    Raises:
        TintlabError: a column is missing, or has values of the wrong type.
    """
    context = create_context(data_docs)
    looked_up = _Splits(_cast(splits, SPLIT_COLUMNS, paths.SPLITS))
    examination = _Examination(context, params)
    for part in photos:
        examination.examine(_join_facts(_cast(part, FACTS, paths.PHOTOS), looked_up))
    del splits, looked_up
    accepted = pd.concat(examination.accepted, ignore_index=True)
    examination.accepted.clear()
    accepted = _count_splits_of_hash(accepted)
    left_out = pd.concat(examination.left_out, ignore_index=True)
    examined = len(accepted) + len(left_out)
    tallies = _check_set(context, accepted, set_rules(params, examined))
    if data_docs is not None:
        build_data_docs(context)

    faults = tuple(f"{_fault(tally)}: {tally.rule.consequence}" for tally in tallies if not tally.passed)
    left_out = left_out.sort_values(["origin", "sha256"], ignore_index=True)
    accepted = accepted[list(SCHEMAS[paths.ACCEPTED.name])].sort_values("photo", ignore_index=True)
    return Validation(
        accepted=accepted,
        quarantine=left_out[list(SCHEMAS[paths.QUARANTINE.name])],
        findings={
            "passed": not faults,
            "faults": list(faults),
            "photographs": examined,
            "accepted": {split: int((accepted["split"] == split).sum()) for split in SPLITS},
            "quarantined": len(left_out),
            "photograph_expectations": [
                {"rule": tally.rule.name, "says": tally.rule.says} | tally.counts
                for tally in examination.tallies
            ],
            "set_expectations": [
                {"rule": tally.rule.name, "says": tally.rule.says, "passed": tally.passed} | tally.counts
                for tally in tallies
            ],
        },
        faults=faults,
    )


class _Examination:
    """Checks photographs part by part.

    Attributes:
        accepted: of each part, what is needed of the photographs that pass.
        left_out: of each part, all facts of the others, and the reason.
        tallies: of each rule.
    """

    def __init__(self, context: Any, params: ValidateParams) -> None:
        self._suite = Suite(context, "photographs", photo_rules(params))
        self.tallies = [Tally(rule) for rule in self._suite.rules]
        self.accepted: list[pd.DataFrame] = []
        self.left_out: list[pd.DataFrame] = []

    def examine(self, part: pd.DataFrame) -> None:
        """Check a part of the photographs, with the columns of `_join_facts`."""
        results = self._suite.check(part)
        for tally, result in zip(self.tallies, results, strict=True):
            tally.add(result)
        reasons = _reasons(part, self._suite.rules, results)
        self.accepted.append(part.drop(index=list(reasons))[_KEPT])
        said = ["; ".join(found) for found in reasons.values()]
        self.left_out.append(part.loc[list(reasons)].assign(reason=pd.array(said, dtype="str")))


def _check_set(context: Any, accepted: pd.DataFrame, rules: Sequence[Rule]) -> list[Tally]:
    """Check the accepted photographs, with as little of the table at once as each rule allows."""
    tallies = {rule.name: Tally(rule) for rule in rules}
    one_by_one = Suite(context, "accepted", [rule for rule in rules if not rule.whole])
    together = Suite(context, "collection", [rule for rule in rules if rule.whole])
    parts = (accepted.iloc[start : start + ROWS] for start in range(0, max(len(accepted), 1), ROWS))
    # Numbers for names: Great Expectations would make a Python object of each.
    names, _ = pd.factorize(accepted["photo"])
    whole = accepted[["row", "split", "a_middle", "b_middle"]].assign(photo=names)
    for suite, tables in ((one_by_one, parts), (together, [whole])):
        for table in tables:
            for rule, result in zip(suite.rules, suite.check(table), strict=True):
                tallies[rule.name].add(result)
    return list(tallies.values())


def sample_photos(accepted: pd.DataFrame, count: int = _SAMPLES) -> list[str]:
    """Pick training photographs to show: the smallest hashed names, so that new photographs change few."""
    names = accepted.loc[accepted["split"] == "train", "photo"]
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:count]


def main() -> None:
    """Run the stage on the files in dvc.yaml."""
    params = load_params()
    with atomic_folder(paths.data_docs()) as data_docs:
        photos = read_pieces(paths.PHOTOS, list(FACTS), ROWS)
        outcome = validate(photos, read_table(paths.SPLITS), params.validate_, data_docs)
    write_json(paths.VALIDATION_JSON, outcome.findings)
    write_table(outcome.quarantine, paths.QUARANTINE)
    write_text(paths.VALIDATION_PAGE, _draw_page(outcome, params.photos.max_megapixels))
    if outcome.faults:
        # Otherwise an earlier run's list would look like this run's result.
        paths.ACCEPTED.unlink(missing_ok=True)
        more = f" (and {len(outcome.faults) - 1} more)" if len(outcome.faults) > 1 else ""
        raise TintlabError(
            f"the photographs are unfit: {outcome.faults[0]}{more}; see {paths.VALIDATION_PAGE}"
        )
    write_table(outcome.accepted, paths.ACCEPTED)
    print(
        f"{len(outcome.accepted)} photographs accepted, {len(outcome.quarantine)} quarantined "
        f"({paths.VALIDATION_PAGE} shows them)"
    )


def _cast(table: pd.DataFrame, schema: Mapping[str, str], path: Path) -> pd.DataFrame:
    """Select the columns of a schema and convert them to its dtypes."""
    for column, dtype in schema.items():
        if column not in table.columns:
            raise TintlabError(f"{path} lacks the column {column!r}: delete it and run `dvc repro`")
        try:
            table = table.astype({column: dtype})
        except ValueError as error:
            raise TintlabError(
                f"column {column!r} of {path} is not as expected ({error}): delete it and run `dvc repro`"
            ) from None
    return table[list(schema)]


class _Splits:
    """The splits of photographs, looked up part by part.

    Fetch and split write their tables in one order, so the rows of a part are the next ones. They are looked for
    there first: an index of all rows for each part would make the time grow with the square of their number.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self._table = table
        self._next = 0

    def of(self, photos: pd.Series, readable: pd.Series) -> pd.DataFrame:
        """The columns of the splits' table by photograph; empty where it has no row."""
        rows = self._table.iloc[self._next : self._next + len(photos)]
        places = _find_places(photos, rows["photo"])
        if (places[readable.to_numpy()] < 0).any():
            rows = self._table
            places = _find_places(photos, rows["photo"])
        else:
            self._next += int(places.max(initial=-1)) + 1
        names = ("split", "cluster", "excluded")
        return pd.DataFrame(
            {name: rows[name].array.take(places, allow_fill=True, fill_value="") for name in names}
        )


def _find_places(names: pd.Series, among: pd.Series) -> NDArray[np.int32]:
    """The place of each name, or -1."""
    found = pc.index_in(pa.array(names), pa.array(among)).fill_null(-1)
    return np.asarray(found.to_numpy(zero_copy_only=False), np.int32)


def _join_facts(photos: pd.DataFrame, splits: _Splits) -> pd.DataFrame:
    """Join the facts and the split of each file. An unreadable file has NaN facts, which expectations skip."""
    table = photos.reset_index(drop=True)
    found = splits.of(table["photo"], table["problem"] == "")
    table = table.join(found)
    sides = table[["width", "height"]].where(table["problem"] == "")
    colours = [column for column, dtype in FACTS.items() if dtype == FLOAT]
    return table.assign(
        row=table.index,
        short_side=sides.min(axis=1),
        aspect=sides.max(axis=1) / sides.min(axis=1),
        contrast=table["l_high"] - table["l_low"],
        a_middle=(table["a_low"] + table["a_high"]) / 2,
        b_middle=(table["b_low"] + table["b_high"]) / 2,
        unknown_facts=table[colours].isna().sum(axis=1).astype(np.int8),
    )


def _count_splits_of_hash(accepted: pd.DataFrame) -> pd.DataFrame:
    """Add columns: `splits_of_hash`, in how many splits a photograph's perceptual hash occurs, and `row`."""
    hashes, _ = pd.factorize(accepted["phash"])
    splits, names = pd.factorize(accepted["split"])
    pairs = np.unique(hashes * len(names) + splits)
    counts = np.bincount(pairs // max(len(names), 1), minlength=1).astype(np.int8)
    return accepted.drop(columns="phash").assign(
        splits_of_hash=counts[hashes], row=np.arange(len(accepted), dtype=np.int32)
    )


def _reasons(examined: pd.DataFrame, rules: Sequence[Rule], results: Sequence[Any]) -> dict[int, list[str]]:
    """The reasons for leaving photographs out, by row."""
    found = [
        (row["row"], rule)
        for rule, result in zip(rules, results, strict=True)
        for row in result.result["unexpected_index_list"] or []
    ]
    # Only these rows: as dictionaries, facts take kilobytes a photograph.
    facts = examined.loc[sorted({row for row, _ in found})].to_dict("index")
    reasons: dict[int, list[str]] = {}
    for row, rule in found:
        reasons.setdefault(row, []).append(rule.consequence.format_map(facts[row]))
    return reasons


def _fault(tally: Tally) -> str:
    says, measured = tally.rule.says, tally.counts
    if "unexpected" in measured:
        return f"{says} ({measured['unexpected']} of {measured['examined']} fail)"
    return f"{says} (found: {'none' if measured['observed'] is None else measured['observed']})"


def _draw_page(outcome: Validation, max_megapixels: float) -> str:
    samples = sample_photos(outcome.accepted)
    left_out = [photo for photo in outcome.quarantine["photo"] if photo][:_THUMBNAILS]
    thumbnails = {
        photo: make_thumbnail(read_photo(paths.RAW / photo, max_megapixels).rgb(), _THUMBNAIL_SIDE)
        for photo in [*samples, *left_out]
    }
    return validation_page(outcome.findings, outcome.quarantine, thumbnails, samples)


if __name__ == "__main__":
    entry_point.run_stage(main)
