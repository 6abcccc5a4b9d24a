"""validate: quarantine photographs that are unfit for training or judging, and stop if the whole set is unfit.

The rules are a Great Expectations suite written as code. A photograph that breaks a rule is left out. A set that
breaks a rule stops the pipeline.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tintlab.imaging.grids import make_thumbnail
from tintlab.imaging.photos import read_photo
from tintlab.reports.validation import validation_page
from tintlab.stages.validate_rules import SPLITS, Rule, photo_rules, set_rules
from tintlab.stages.validate_suite import build_data_docs, counts_of, create_context, run_suite
from tintlab.system import entry_point, paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_folder, write_json, write_text
from tintlab.system.params import ValidateParams, load_params
from tintlab.system.tables import FLOAT, PHOTO_FACTS, SCHEMAS, SPLIT_COLUMNS, read_table, write_table

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
    photos: pd.DataFrame, splits: pd.DataFrame, params: ValidateParams, data_docs: Path | None = None
) -> Validation:
    """Check every photograph, then the photographs that pass as a set.

    Args:
        photos: the columns of `paths.PHOTOS`, one row per file.
        splits: the columns of `paths.SPLITS`.
        params: the limits of the rules.
        data_docs: an empty folder for Great Expectations' own pages; None for no pages.

    Raises:
        TintlabError: a column is missing, or has values of the wrong type.
    """
    examined = _join_facts(
        _cast(photos, PHOTO_FACTS, paths.PHOTOS), _cast(splits, SPLIT_COLUMNS, paths.SPLITS)
    )
    for_photos, for_the_set = photo_rules(params), set_rules(params, len(examined))
    context = create_context(data_docs)
    photo_results = run_suite(context, "photographs", examined, for_photos)
    reasons = _reasons(examined, for_photos, photo_results)
    accepted = _count_splits_of_hash(examined.drop(index=list(reasons)))
    set_results = run_suite(context, "accepted", accepted, for_the_set)
    if data_docs is not None:
        build_data_docs(context)

    left_out = examined.loc[list(reasons)].assign(reason=["; ".join(found) for found in reasons.values()])
    left_out = left_out.sort_values(["origin", "sha256"], ignore_index=True)
    faults = tuple(
        f"{_fault(rule, result)}: {rule.consequence}"
        for rule, result in zip(for_the_set, set_results, strict=True)
        if not result.success
    )
    return Validation(
        accepted=accepted.sort_values("photo", ignore_index=True)[list(SCHEMAS[paths.ACCEPTED.name])],
        quarantine=left_out[list(SCHEMAS[paths.QUARANTINE.name])],
        findings={
            "passed": not faults,
            "faults": list(faults),
            "photographs": len(examined),
            "accepted": {split: int((accepted["split"] == split).sum()) for split in SPLITS},
            "quarantined": len(left_out),
            "photograph_expectations": [
                {"rule": rule.name, "says": rule.says} | counts_of(result)
                for rule, result in zip(for_photos, photo_results, strict=True)
            ],
            "set_expectations": [
                {"rule": rule.name, "says": rule.says, "passed": bool(result.success)} | counts_of(result)
                for rule, result in zip(for_the_set, set_results, strict=True)
            ],
        },
        faults=faults,
    )


def sample_photos(accepted: pd.DataFrame, count: int = _SAMPLES) -> list[str]:
    """Pick training photographs to show: the smallest hashed names, so that new photographs change few."""
    names = accepted.loc[accepted["split"] == "train", "photo"]
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:count]


def main() -> None:
    """Run the stage on the files in dvc.yaml."""
    params = load_params()
    with atomic_folder(paths.data_docs()) as data_docs:
        outcome = validate(read_table(paths.PHOTOS), read_table(paths.SPLITS), params.validate_, data_docs)
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


def _join_facts(photos: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """Join the facts and the split of each file. An unreadable file has NaN facts, which expectations skip."""
    table = photos.merge(splits, on="photo", how="left")
    table[["split", "cluster", "excluded"]] = table[["split", "cluster", "excluded"]].fillna("")
    sides = table[["width", "height"]].where(table["problem"] == "")
    colours = [column for column, dtype in PHOTO_FACTS.items() if dtype == FLOAT]
    return table.assign(
        row=table.index,
        short_side=sides.min(axis=1),
        aspect=sides.max(axis=1) / sides.min(axis=1),
        contrast=table["l_high"] - table["l_low"],
        a_middle=(table["a_low"] + table["a_high"]) / 2,
        b_middle=(table["b_low"] + table["b_high"]) / 2,
        unknown_facts=table[colours].isna().sum(axis=1),
    )


def _count_splits_of_hash(accepted: pd.DataFrame) -> pd.DataFrame:
    """Add the column `splits_of_hash`: the number of splits in which a photograph's perceptual hash occurs."""
    return accepted.assign(splits_of_hash=accepted.groupby("phash")["split"].transform("nunique"))


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


def _fault(rule: Rule, result: Any) -> str:
    measured = counts_of(result)
    if "unexpected" in measured:
        return f"{rule.says} ({measured['unexpected']} of {measured['examined']} fail)"
    return f"{rule.says} (found: {'none' if measured['observed'] is None else measured['observed']})"


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
