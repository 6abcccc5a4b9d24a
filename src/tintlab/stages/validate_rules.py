"""The rules of the validate stage, as Great Expectations objects with their meaning for us."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tintlab.system import paths
from tintlab.system.params import ValidateParams

SPLITS = ("train", "val", "test")

_LIMITS = {"l": (0, 100), "a": (-128, 127), "b": (-128, 127)}  # the range of the squares of convert


@dataclass(frozen=True)
class Rule:
    """An expectation and its consequence.

    Attributes:
        name: unique, for the JSON.
        says: the expectation in words.
        expectation: the Great Expectations object that checks it.
        consequence: for a rule about a photograph, the reason for its quarantine, with facts of the photograph in
            braces; for a rule about the set, the advice to the user.
        whole: it needs all photographs at once, so the table can't be checked part by part.
    """

    name: str
    says: str
    expectation: Any
    consequence: str
    whole: bool = False


def photo_rules(params: ValidateParams) -> list[Rule]:
    """The rules that each photograph must pass, the most serious first."""
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


def set_rules(params: ValidateParams, photographs: int) -> list[Rule]:
    """The rules that the accepted photographs must pass together; rules about broken tables come first."""
    return [
        *_table_rules(),
        *_range_rules(),
        *_size_rules(params, photographs),
        *_cast_rules(params),
    ]


def _table_rules() -> Iterator[Rule]:
    import great_expectations.expectations as gxe

    again = f"{paths.PHOTOS} and {paths.SPLITS} do not match; run `dvc repro` to write both again"
    yield Rule(
        "split_known",
        "Every photograph is in train, val or test",
        gxe.ExpectColumnValuesToBeInSet(column="split", value_set=list(SPLITS)),
        again,
    )
    yield Rule(
        "names_unique",
        "No two photographs share a name",
        gxe.ExpectColumnValuesToBeUnique(column="photo"),
        again,
        whole=True,
    )
    yield Rule(
        "facts_known",
        "Colourfulness, L*, a* and b* of every photograph are known",
        gxe.ExpectColumnValuesToBeInSet(column="unknown_facts", value_set=[0]),
        again,
    )
    yield Rule(
        "no_twins_across_splits",
        "Photographs with the same perceptual hash share one split",
        gxe.ExpectColumnValuesToBeBetween(column="splits_of_hash", max_value=1),
        "test figures would be too good; run `dvc repro` to split the photographs again",
    )


def _range_rules() -> Iterator[Rule]:
    import great_expectations.expectations as gxe

    for axis, (low, high) in _LIMITS.items():
        name = "L*" if axis == "l" else f"{axis}*"
        for end, words in (("low", "1st"), ("high", "99th")):
            yield Rule(
                f"{axis}_{end}_in_range",
                f"{name} lies between {low} and {high} (its {words} percentile)",
                gxe.ExpectColumnValuesToBeBetween(column=f"{axis}_{end}", min_value=low, max_value=high),
                f"no colour has such values; run `dvc repro` to write {paths.PHOTOS} again",
            )


def _size_rules(params: ValidateParams, photographs: int) -> Iterator[Rule]:
    import great_expectations.expectations as gxe
    from great_expectations.expectations.row_conditions import Column

    may_go = int(params.max_quarantined * photographs + 1e-9)
    yield Rule(
        "quarantine_limited",
        f"At most {params.max_quarantined:.0%} of the photographs are quarantined: "
        f"{photographs - may_go} of {photographs} or more remain",
        gxe.ExpectTableRowCountToBeBetween(min_value=photographs - may_go),
        "look at the reasons; repair the photographs, or raise validate.max_quarantined if the reasons are right",
        whole=True,
    )
    for split in SPLITS:
        yield Rule(
            f"enough_{split}",
            f"The {split} split has at least {getattr(params, f'min_{split}')} photographs",
            gxe.ExpectTableRowCountToBeBetween(
                min_value=getattr(params, f"min_{split}"), row_condition=Column("split") == split
            ),
            f"add photographs to {paths.INBOX}/, or lower validate.min_{split} in params.yaml",
            whole=True,
        )


def _cast_rules(params: ValidateParams) -> Iterator[Rule]:
    import great_expectations.expectations as gxe

    for axis in ("a", "b"):
        yield Rule(
            f"no_cast_{axis}",
            f"The mean of the photographs' middle {axis}* lies within {params.max_cast:g} of 0",
            gxe.ExpectColumnMeanToBeBetween(
                column=f"{axis}_middle", min_value=-params.max_cast, max_value=params.max_cast
            ),
            "the collection has a colour cast (sepia, faded film?); remove the tinted photographs, or raise "
            "validate.max_cast if the cast is intended",
            whole=True,
        )
