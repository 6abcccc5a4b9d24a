"""validate: quarantine photographs that would teach or judge badly, and stop when the whole set is unfit.

The rules are a Great Expectations suite written as code. A finding about a photograph leaves that photograph
out; a finding about the set stops the pipeline.
"""

import hashlib
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tintlab.imaging.grids import thumbnail
from tintlab.imaging.photos import read_photo
from tintlab.reports import evaluation as evaluation_page
from tintlab.system import entry_point, paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_folder, write_json, write_text
from tintlab.system.params import ValidateParams, load_params
from tintlab.system.tables import FLOAT, PHOTO_FACTS, SCHEMAS, SPLIT_COLUMNS, read_table, write_table

SPLITS = ("train", "val", "test")
# What the squares of convert can hold.
_LIMITS = {"l": (0, 100), "a": (-128, 127), "b": (-128, 127)}
_SAMPLES = 16
_THUMBNAILS = 60
_THUMBNAIL_SIDE = 200


@dataclass(frozen=True)
class Rule:
    """One expectation, and what it means to us.

    Attributes:
        name: unique, for the JSON.
        says: what is expected, in words.
        expectation: the Great Expectations object that checks it.
        consequence: for a rule about photographs the reason of the quarantine, with the photograph's facts in
            braces; for a rule about the set what the user can do.
    """

    name: str
    says: str
    expectation: Any
    consequence: str


@dataclass(frozen=True)
class Validation:
    """The outcome of `validate`.

    Attributes:
        accepted: columns of `paths.ACCEPTED`, sorted by photo.
        quarantine: columns of `paths.QUARANTINE`, sorted by origin.
        findings: everything that was checked, with counts; fit for JSON, and the same for the same input.
        faults: what is wrong with the set, each with what to do; empty when the pipeline may go on.
    """

    accepted: pd.DataFrame
    quarantine: pd.DataFrame
    findings: dict[str, Any]
    faults: tuple[str, ...]


def validate(
    photos: pd.DataFrame, splits: pd.DataFrame, params: ValidateParams, data_docs: Path | None = None
) -> Validation:
    """Check every photograph, then the set of those that pass.

    Args:
        photos: the columns of `paths.PHOTOS`, a row a file that was found.
        splits: the columns of `paths.SPLITS`.
        params: the rules' numbers.
        data_docs: an empty folder for Great Expectations' own pages; none are made without it.

    Raises:
        TintlabError: a column is missing, or holds something that can't be compared.
    """
    examined = _examined(
        _typed(photos, PHOTO_FACTS, paths.PHOTOS), _typed(splits, SPLIT_COLUMNS, paths.SPLITS)
    )
    photo_rules = _photo_rules(params)
    set_rules = _set_rules(params, len(examined))
    context = _context(data_docs)
    photo_results = _check(context, "photographs", examined, photo_rules)
    reasons = _reasons(examined, photo_rules, photo_results)
    accepted = _with_twins(examined.drop(index=list(reasons)))
    set_results = _check(context, "accepted", accepted, set_rules)
    if data_docs is not None:
        _build_pages(context)

    left_out = examined.loc[list(reasons)].assign(reason=["; ".join(found) for found in reasons.values()])
    left_out = left_out.sort_values(["origin", "sha256"], ignore_index=True)
    faults = tuple(
        f"{_fault(rule, result)}: {rule.consequence}"
        for rule, result in zip(set_rules, set_results, strict=True)
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
                {"rule": rule.name, "says": rule.says} | _measured(result)
                for rule, result in zip(photo_rules, photo_results, strict=True)
            ],
            "set_expectations": [
                {"rule": rule.name, "says": rule.says, "passed": bool(result.success)} | _measured(result)
                for rule, result in zip(set_rules, set_results, strict=True)
            ],
        },
        faults=faults,
    )


def sample(accepted: pd.DataFrame, count: int = _SAMPLES) -> list[str]:
    """Some training photographs to show: those of the smallest hashed names, so that new ones change few."""
    names = accepted.loc[accepted["split"] == "train", "photo"]
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:count]


def main() -> None:
    """Run the stage on the files that dvc.yaml names."""
    params = load_params()
    with atomic_folder(paths.data_docs()) as data_docs:
        outcome = validate(read_table(paths.PHOTOS), read_table(paths.SPLITS), params.validate_, data_docs)
    write_json(paths.VALIDATION_JSON, outcome.findings)
    write_table(outcome.quarantine, paths.QUARANTINE)
    write_text(paths.VALIDATION_PAGE, _page(outcome, params.photos.max_megapixels))
    if outcome.faults:
        # What an earlier run accepted must not pass for this run's result.
        paths.ACCEPTED.unlink(missing_ok=True)
        more = f" (and {len(outcome.faults) - 1} more)" if len(outcome.faults) > 1 else ""
        raise TintlabError(
            f"the photographs are not fit: {outcome.faults[0]}{more}; see {paths.VALIDATION_PAGE}"
        )
    write_table(outcome.accepted, paths.ACCEPTED)
    print(
        f"{len(outcome.accepted)} photographs accepted, {len(outcome.quarantine)} quarantined "
        f"({paths.VALIDATION_PAGE} shows them)"
    )


def _photo_rules(params: ValidateParams) -> list[Rule]:
    """What each photograph must be like, the gravest first."""
    import great_expectations.expectations as gxe

    return [
        Rule(
            "readable",
            "The file can be read as a photograph",
            gxe.ExpectColumnValuesToBeInSet(column="problem", value_set=[""]),
            "unreadable: {problem}",
        ),
        Rule(
            "not_excluded",
            "No near-duplicate in a split of higher rank (test, then val, then train)",
            gxe.ExpectColumnValuesToBeInSet(column="excluded", value_set=[""]),
            "{excluded}",
        ),
        Rule(
            "not_too_small",
            f"The short side has at least {params.min_side} pixels",
            gxe.ExpectColumnValuesToBeBetween(column="short_side", min_value=params.min_side),
            f"too small: the short side has {{short_side:.0f}} pixels, fewer than {params.min_side}",
        ),
        Rule(
            "not_extreme",
            f"The long side is at most {params.max_aspect:g} times the short side",
            gxe.ExpectColumnValuesToBeBetween(column="aspect", max_value=params.max_aspect),
            f"extreme aspect: {{aspect:.1f}} times as long as short, more than {params.max_aspect:g}",
        ),
        Rule(
            "not_blank",
            f"L* spans at least {params.min_contrast:g} between its 1st and 99th percentile",
            gxe.ExpectColumnValuesToBeBetween(column="contrast", min_value=params.min_contrast),
            f"blank: L* spans {{contrast:.1f}}, less than {params.min_contrast:g}",
        ),
        Rule(
            "not_near_grey",
            f"Colourfulness is at least {params.min_colourfulness:g}",
            gxe.ExpectColumnValuesToBeBetween(column="colourfulness", min_value=params.min_colourfulness),
            f"near-grey: colourfulness {{colourfulness:.1f}}, less than {params.min_colourfulness:g}",
        ),
    ]


def _set_rules(params: ValidateParams, photographs: int) -> list[Rule]:
    """What the accepted photographs must be like together, broken tables first."""
    import great_expectations.expectations as gxe
    from great_expectations.expectations.row_conditions import Column

    again = f"{paths.PHOTOS} and {paths.SPLITS} don't fit each other; run `dvc repro` to make both anew"
    rules = [
        Rule(
            "split_known",
            "Every photograph is in train, val or test",
            gxe.ExpectColumnValuesToBeInSet(column="split", value_set=list(SPLITS)),
            again,
        ),
        Rule(
            "names_unique",
            "No two photographs share a name",
            gxe.ExpectColumnValuesToBeUnique(column="photo"),
            again,
        ),
        Rule(
            "facts_known",
            "Colourfulness, L*, a* and b* of every photograph are known",
            gxe.ExpectColumnValuesToBeInSet(column="unknown_facts", value_set=[0]),
            again,
        ),
        Rule(
            "no_twins_across_splits",
            "Photographs with the same perceptual hash share one split",
            gxe.ExpectColumnValuesToBeBetween(column="splits_of_hash", max_value=1),
            "test figures would be too good; run `dvc repro` to divide the photographs anew",
        ),
    ]
    for axis, (low, high) in _LIMITS.items():
        name = "L*" if axis == "l" else f"{axis}*"
        for end, words in (("low", "1st"), ("high", "99th")):
            rules.append(
                Rule(
                    f"{axis}_{end}_in_range",
                    f"{name} lies between {low} and {high} (its {words} percentile)",
                    gxe.ExpectColumnValuesToBeBetween(column=f"{axis}_{end}", min_value=low, max_value=high),
                    f"no colour is there; run `dvc repro` to make {paths.PHOTOS} anew",
                )
            )
    may_go = int(params.max_quarantined * photographs + 1e-9)
    rules.append(
        Rule(
            "quarantine_limited",
            f"At most {params.max_quarantined:.0%} of the photographs are quarantined: "
            f"{photographs - may_go} of {photographs} or more remain",
            gxe.ExpectTableRowCountToBeBetween(min_value=photographs - may_go),
            "look at the reasons; mend the photographs, or raise validate.max_quarantined if they are right",
        )
    )
    for split in SPLITS:
        rules.append(
            Rule(
                f"enough_{split}",
                f"The {split} split has at least {getattr(params, f'min_{split}')} photographs",
                gxe.ExpectTableRowCountToBeBetween(
                    min_value=getattr(params, f"min_{split}"), row_condition=Column("split") == split
                ),
                f"add photographs to {paths.INBOX}/, or lower validate.min_{split} in params.yaml",
            )
        )
    for axis in ("a", "b"):
        rules.append(
            Rule(
                f"no_cast_{axis}",
                f"The mean of the photographs' middle {axis}* lies within {params.max_cast:g} of 0",
                gxe.ExpectColumnMeanToBeBetween(
                    column=f"{axis}_middle", min_value=-params.max_cast, max_value=params.max_cast
                ),
                "the collection has a colour cast (sepia, faded film?); leave the tinted photographs out, or "
                "raise validate.max_cast if it is meant",
            )
        )
    return rules


def _typed(table: pd.DataFrame, schema: Mapping[str, str], path: Path) -> pd.DataFrame:
    """The schema's columns with the schema's dtypes."""
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


def _examined(photos: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """Facts and split of each file; where it can't be read, facts are NaN, which expectations pass over."""
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


def _with_twins(accepted: pd.DataFrame) -> pd.DataFrame:
    """Say of each photograph in how many splits its perceptual hash occurs."""
    return accepted.assign(splits_of_hash=accepted.groupby("phash")["split"].transform("nunique"))


def _context(data_docs: Path | None) -> Any:
    """A Great Expectations context that lives in memory, shows no progress bars and reports to nobody."""
    import great_expectations as gx
    from great_expectations.data_context.types import base

    context = gx.get_context(
        mode="ephemeral",
        project_config=base.DataContextConfig(
            analytics_enabled=False,
            progress_bars=base.ProgressBarsConfig(globally=False),
            store_backend_defaults=base.InMemoryStoreBackendDefaults(),
        ),
    )
    if data_docs is not None:
        store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(data_docs.absolute())}
        site = {
            "class_name": "SiteBuilder",
            "store_backend": store,
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        }
        context.add_data_docs_site("data_docs", site)
    return context


def _build_pages(context: Any) -> None:
    """Write Great Expectations' own pages.

    Raises:
        Exception: a page can't be made or written, as on a full disk. Great Expectations goes on, with half of
            the pages and a traceback in its log.
    """
    log = logging.getLogger("great_expectations")
    faults = _Faults()
    log.addHandler(faults)
    log.propagate = False
    try:
        context.build_data_docs()
    finally:
        log.removeHandler(faults)
        log.propagate = True
    if faults.found:
        raise faults.found[0]


class _Faults(logging.Handler):
    """Keeps the exceptions that were logged where they were caught."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the exception that is being handled, if there is one."""
        if (error := sys.exc_info()[1]) is not None:
            self.found.append(error)


def _check(context: Any, name: str, table: pd.DataFrame, rules: Sequence[Rule]) -> list[Any]:
    """Run the rules as one suite on a table; Great Expectations' result for each rule, in their order.

    Raises:
        TintlabError: a rule could not be computed, which Great Expectations itself counts as a failed rule.
    """
    import great_expectations as gx

    suite = gx.ExpectationSuite(name)
    for rule in rules:
        rule.expectation.meta = {"rule": rule.name}
        rule.expectation.description = rule.says
        suite.add_expectation(rule.expectation)
    asset = context.data_sources.add_pandas(name).add_dataframe_asset(name)
    definition = gx.ValidationDefinition(
        name=name, data=asset.add_batch_definition_whole_dataframe(name), suite=context.suites.add(suite)
    )
    run = context.validation_definitions.add(definition).run(
        batch_parameters={"dataframe": table},
        result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["row"]},
    )
    results = {result.expectation_config.meta["rule"]: result for result in run.results}
    for rule in rules:
        if not results[rule.name].result:
            raise TintlabError(f"the rule {rule.name!r} can't be checked: {_exception(results[rule.name])}")
    return [results[rule.name] for rule in rules]


def _exception(result: Any) -> str:
    messages = [
        info["exception_message"] for info in result.exception_info.values() if isinstance(info, dict)
    ]
    return messages[0] if messages else "no reason given"


def _reasons(examined: pd.DataFrame, rules: Sequence[Rule], results: Sequence[Any]) -> dict[int, list[str]]:
    """Why photographs are left out, by their row."""
    found = [
        (row["row"], rule)
        for rule, result in zip(rules, results, strict=True)
        for row in result.result["unexpected_index_list"] or []
    ]
    # Of these rows alone: as dictionaries, all facts would take some kilobytes a photograph.
    facts = examined.loc[sorted({row for row, _ in found})].to_dict("index")
    reasons: dict[int, list[str]] = {}
    for row, rule in found:
        reasons.setdefault(row, []).append(rule.consequence.format_map(facts[row]))
    return reasons


def _measured(result: Any) -> dict[str, int | float | None]:
    """What Great Expectations counted or observed, as plain numbers."""
    figures = result.result
    if "unexpected_count" in figures:
        examined = figures["element_count"] - figures["missing_count"]
        return {"examined": int(examined), "unexpected": int(figures["unexpected_count"])}
    observed = figures["observed_value"]
    if observed is None or isinstance(observed, int):
        return {"observed": observed}
    return {"observed": round(float(observed), 2)}


def _fault(rule: Rule, result: Any) -> str:
    measured = _measured(result)
    if "unexpected" in measured:
        return f"{rule.says} ({measured['unexpected']} of {measured['examined']} fail)"
    return f"{rule.says} (found: {'none' if measured['observed'] is None else measured['observed']})"


def _page(outcome: Validation, max_megapixels: float) -> str:
    samples = sample(outcome.accepted)
    left_out = [photo for photo in outcome.quarantine["photo"] if photo][:_THUMBNAILS]
    thumbnails = {
        photo: thumbnail(read_photo(paths.RAW / photo, max_megapixels).rgb(), _THUMBNAIL_SIDE)
        for photo in [*samples, *left_out]
    }
    return evaluation_page.validation_page(outcome.findings, outcome.quarantine, thumbnails, samples)


if __name__ == "__main__":
    entry_point.run_stage(main)
