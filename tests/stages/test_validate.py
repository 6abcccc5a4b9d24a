"""Every rule about a photograph and about the set, the stage as a program, and the real starter photographs."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.stages.fetched import fetched
from tintlab.stages import split, validate
from tintlab.stages.validate_rules import Rule
from tintlab.stages.validate_suite import Suite, create_context
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import read_json
from tintlab.system.params import Params, ValidateParams
from tintlab.system.tables import read_table, write_table

Tables = tuple[pd.DataFrame, pd.DataFrame]
COUNTS = {"train": 30, "val": 6, "test": 6}


@pytest.fixture
def params(default_params: Params) -> ValidateParams:
    fewer = {f"min_{name}": count for name, count in COUNTS.items()}
    return default_params.validate_.model_copy(update=fewer | {"max_quarantined": 0.1})


@pytest.fixture
def tables() -> Tables:
    """Photographs without a fault: two more in each split than are needed."""
    names = [f"{name}{number:02d}.jpg" for name, count in COUNTS.items() for number in range(count + 2)]
    rows = [
        {
            "photo": name,
            "origin": f"made-up/{name}",
            "category": "made-up",
            "sha256": f"{number:064x}",
            "bytes": 1000,
            "copies": 0,
            "format": "JPEG",
            "mode": "RGB",
            "width": 400,
            "height": 300,
            "phash": f"{number:016x}",
            "colourfulness": 40.0,
            "l_low": 5.0,
            "l_high": 95.0,
            "a_low": -20.0,
            "a_high": 24.0,
            "b_low": -20.0,
            "b_high": 30.0,
            "problem": "",
        }
        for number, name in enumerate(names)
    ]
    splits = [{"photo": name, "split": name[:-6], "cluster": name, "excluded": ""} for name in names]
    return pd.DataFrame(rows), pd.DataFrame(splits)


def failed(outcome: validate.Validation) -> list[str]:
    return [rule["rule"] for rule in outcome.findings["set_expectations"] if not rule["passed"]]


def test_faultless_photographs_are_all_accepted(tables: Tables, params: ValidateParams) -> None:
    outcome = validate.validate([tables[0]], tables[1], params)
    assert outcome.faults == ()
    assert failed(outcome) == []
    assert sorted(outcome.accepted["photo"]) == sorted(tables[0]["photo"])
    assert outcome.quarantine.empty
    assert outcome.findings["accepted"] == {"train": 32, "val": 8, "test": 8}


@pytest.mark.parametrize(
    ("rule", "facts", "reason"),
    [
        (
            "not_too_small",
            {"width": 95, "height": 200},
            "too small: the short side has 95 pixels, fewer than 96",
        ),
        (
            "not_too_small",
            {"width": 200, "height": 95},
            "too small: the short side has 95 pixels, fewer than 96",
        ),
        ("not_extreme", {"width": 1230}, "extreme aspect: 4.1 times as long as short, more than 4"),
        (
            "not_extreme",
            {"width": 200, "height": 900},
            "extreme aspect: 4.5 times as long as short, more than 4",
        ),
        ("not_blank", {"l_low": 50.0, "l_high": 59.5}, "blank: L* spans 9.5, less than 10"),
        ("not_near_grey", {"colourfulness": 7.9}, "near-grey: colourfulness 7.9, less than 8"),
        ("not_too_small", {"width": 96, "height": 96}, None),
        ("not_extreme", {"width": 1200}, None),
        ("not_blank", {"l_low": 50.0, "l_high": 60.0}, None),
        ("not_near_grey", {"colourfulness": 8.0}, None),
    ],
)
def test_a_photograph_that_breaks_a_rule_is_quarantined(
    tables: Tables, params: ValidateParams, rule: str, facts: dict[str, Any], reason: str | None
) -> None:
    photos, splits = tables
    for column, value in facts.items():
        photos.loc[3, column] = value
    outcome = validate.validate([photos], splits, params)
    expected = [] if reason is None else [[photos.loc[3, "photo"], photos.loc[3, "origin"], "train", reason]]
    assert outcome.quarantine.to_numpy().tolist() == expected
    assert (photos.loc[3, "photo"] in set(outcome.accepted["photo"])) == (reason is None)
    assert outcome.faults == ()
    counts = {found["rule"]: found["unexpected"] for found in outcome.findings["photograph_expectations"]}
    assert counts[rule] == len(expected)
    assert sum(counts.values()) == len(expected)


def test_unreadable_files_are_quarantined_with_a_reason(tables: Tables, params: ValidateParams) -> None:
    photos, splits = tables
    numbers = ["colourfulness", "l_low", "l_high", "a_low", "a_high", "b_low", "b_high"]
    unreadable = photos.loc[[0]].assign(
        photo="", origin="made-up/{x}.jpg", sha256="f" * 64, width=0, height=0
    )
    unreadable = unreadable.assign(
        phash="", problem="the picture's data {is} cut short", **dict.fromkeys(numbers)
    )
    outcome = validate.validate([photos, unreadable], splits, params)
    row = ["", "made-up/{x}.jpg", "", "unreadable: the picture's data {is} cut short"]
    assert outcome.quarantine.to_numpy().tolist() == [row]
    assert len(outcome.accepted) == len(photos)
    assert outcome.faults == ()


def test_a_photograph_that_split_excluded_is_quarantined(tables: Tables, params: ValidateParams) -> None:
    photos, splits = tables
    splits.loc[0, "excluded"] = "near-duplicate of test00.jpg in test"
    outcome = validate.validate([photos], splits, params)
    assert outcome.quarantine["reason"].tolist() == ["near-duplicate of test00.jpg in test"]
    assert "train00.jpg" not in set(outcome.accepted["photo"])


def test_every_reason_is_named(tables: Tables, params: ValidateParams) -> None:
    photos, splits = tables
    photos.loc[0, ["width", "colourfulness"]] = [50, 1.0]
    outcome = validate.validate([photos], splits, params)
    (reason,) = outcome.quarantine["reason"]
    assert [part.split(":")[0] for part in reason.split("; ")] == ["too small", "extreme aspect", "near-grey"]


@pytest.mark.parametrize(
    ("rule", "facts"),
    [
        ("facts_known", {"colourfulness": np.nan}),
        ("facts_known", {"b_high": np.nan}),
        ("names_unique", {"photo": "train01.jpg"}),
        ("l_low_in_range", {"l_low": -0.5}),
        ("l_high_in_range", {"l_high": 100.5}),
        ("a_low_in_range", {"a_low": -129.0}),
        ("a_high_in_range", {"a_high": 127.5}),
        ("b_low_in_range", {"b_low": -128.5}),
        ("b_high_in_range", {"b_high": 128.0}),
        ("no_twins_across_splits", {"phash": f"{33:016x}"}),
    ],
)
def test_one_broken_fact_stops_the_pipeline(
    tables: Tables, params: ValidateParams, rule: str, facts: dict[str, Any]
) -> None:
    photos, splits = tables
    for column, value in facts.items():
        photos.loc[0, column] = value
    outcome = validate.validate([photos], splits, params)
    assert failed(outcome) == [rule]
    (fault,) = outcome.faults
    assert "run `dvc repro`" in fault
    assert outcome.findings["passed"] is False


def test_twins_within_one_split_may_stay(tables: Tables, params: ValidateParams) -> None:
    photos, splits = tables
    photos.loc[1, "phash"] = photos.loc[0, "phash"]
    assert validate.validate([photos], splits, params).faults == ()


def test_a_photograph_without_a_split_stops_the_pipeline(tables: Tables, params: ValidateParams) -> None:
    photos, splits = tables
    assert failed(validate.validate([photos], splits.drop(index=0), params)) == ["split_known"]


@pytest.mark.parametrize("name", COUNTS)
def test_too_few_photographs_in_a_split_stop_the_pipeline(
    tables: Tables, params: ValidateParams, name: str
) -> None:
    photos, splits = tables
    few = params.model_copy(update={"max_quarantined": 1.0})
    of_split = photos.index[photos["photo"].str.startswith(name)]
    enough = photos.drop(index=of_split[:2])
    assert validate.validate([enough], splits, few).faults == ()
    # One more falls to a rule about photographs: only what is accepted counts.
    enough.loc[of_split[2], "colourfulness"] = 0.0
    outcome = validate.validate([enough], splits, few)
    assert failed(outcome) == [f"enough_{name}"]
    (fault,) = outcome.faults
    assert fault == (
        f"The {name} split has at least {COUNTS[name]} photographs (found: {COUNTS[name] - 1}): "
        f"add photographs to data/inbox/, or lower validate.min_{name} in params.yaml"
    )


def test_too_many_quarantined_photographs_stop_the_pipeline(tables: Tables, params: ValidateParams) -> None:
    photos, splits = tables
    lenient = params.model_copy(update={"min_train": 1})
    photos.loc[:3, "colourfulness"] = 0.0
    assert validate.validate([photos], splits, lenient).faults == (), "4 of 48 is no more than a tenth"
    photos.loc[4, "colourfulness"] = 0.0
    outcome = validate.validate([photos], splits, lenient)
    assert failed(outcome) == ["quarantine_limited"]
    assert "validate.max_quarantined" in outcome.faults[0]


@pytest.mark.parametrize("axis", ["a", "b"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_colour_cast_of_the_set_stops_the_pipeline(
    tables: Tables, params: ValidateParams, axis: str, sign: int
) -> None:
    photos, splits = tables
    for middle, faults in ((params.max_cast - 0.5, []), (params.max_cast + 0.5, [f"no_cast_{axis}"])):
        photos[f"{axis}_low"], photos[f"{axis}_high"] = sign * middle - 10.0, sign * middle + 10.0
        assert failed(validate.validate([photos], splits, params)) == faults


def test_no_photograph_at_all_is_a_fault_not_a_crash(tables: Tables, params: ValidateParams) -> None:
    photos, splits = tables
    outcome = validate.validate([photos.assign(colourfulness=0.0)], splits, params)
    assert len(outcome.accepted) == 0
    assert {"quarantine_limited", "enough_train", "enough_val", "enough_test"} <= set(failed(outcome))


@pytest.mark.parametrize("column", ["colourfulness", "phash", "problem"])
def test_a_missing_column_of_photos_is_named(tables: Tables, params: ValidateParams, column: str) -> None:
    photos, splits = tables
    with pytest.raises(TintlabError, match=rf"data/photos\.csv lacks the column '{column}'.*dvc repro"):
        validate.validate([photos.drop(columns=column)], splits, params)


def test_a_missing_column_of_splits_is_named(tables: Tables, params: ValidateParams) -> None:
    photos, splits = tables
    with pytest.raises(TintlabError, match=r"data/splits\.csv lacks the column 'excluded'"):
        validate.validate([photos], splits.drop(columns="excluded"), params)


def test_text_among_numbers_is_named(tables: Tables, params: ValidateParams) -> None:
    photos, splits = tables
    photos["colourfulness"] = "vivid"
    with pytest.raises(TintlabError, match=r"column 'colourfulness' of data/photos\.csv .*vivid"):
        validate.validate([photos], splits, params)


def test_a_rule_that_cannot_be_computed_does_not_pass_silently(tables: Tables) -> None:
    import great_expectations.expectations as gxe

    rule = Rule("lost", "", gxe.ExpectColumnValuesToBeUnique(column="nowhere"), "")
    with pytest.raises(TintlabError, match=r"'lost' can't be checked.*nowhere"):
        Suite(create_context(None), "photographs", [rule]).check(tables[0])


def test_neither_row_order_nor_parts_change_anything(
    tables: Tables, params: ValidateParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, splits = tables
    photos.loc[[2, 9, 40], "colourfulness"] = 0.0
    photos.loc[[5, 30], "l_high"] = 101.0
    first = validate.validate([photos], splits, params)
    assert failed(first) == ["l_high_in_range"]
    monkeypatch.setattr(validate, "ROWS", 7)
    shuffled = photos.sample(frac=1, random_state=1)
    parts = [shuffled[:11], shuffled[11:12], shuffled[12:]]
    second = validate.validate(parts, splits.sample(frac=1, random_state=2), params)
    pd.testing.assert_frame_equal(first.accepted, second.accepted)
    pd.testing.assert_frame_equal(first.quarantine, second.quarantine)
    assert first.findings == second.findings


def test_shown_photos_are_training_photos_and_mostly_stay(tables: Tables) -> None:
    accepted = tables[1]
    shown = validate.sample_photos(accepted)
    assert len(set(shown)) == 16
    assert all(name.startswith("train") for name in shown)
    assert validate.sample_photos(accepted.iloc[::-1]) == shown
    more = pd.concat([accepted, pd.DataFrame([{"photo": "new.jpg", "split": "train"}])])
    assert len(set(validate.sample_photos(more)) - set(shown)) <= 1


def test_starter_near_greys_and_near_duplicates_are_caught(
    tmp_path: Path, repository: Path, default_params: Params
) -> None:
    photos, _ = fetched([repository / paths.STARTER], default_params.fetch, 200, tmp_path)
    splits = split.assign_splits([photos], default_params.split)
    outcome = validate.validate([photos], splits, default_params.validate_)
    assert outcome.faults == ()
    reasons = {Path(row["origin"]).stem: row["reason"] for row in outcome.quarantine.to_dict("records")}
    near_grey = {name for name, reason in reasons.items() if reason.startswith("near-grey")}
    # A black-and-white photograph, and steel and swans without a colour to learn from.
    assert {"monuments-usa-castleclinton", "wildlife-swans", "objects-knife", "tools-wrench"} <= near_grey
    twins = {name: reason for name, reason in reasons.items() if reason.startswith("near-duplicate")}
    # The same view of the Brandenburg Gate, of the Colosseum and of the Great Pyramid, cut differently.
    assert "monuments-brandenburggate" in twins["monuments-germany-brandenburggate"]
    assert "monuments-wonders-colosseum" in twins["monuments-colosseum"]
    assert "monuments-greatpyramid" in twins["monuments-egypt-greatpyramidofgiza"]
    assert len(outcome.accepted) + len(outcome.quarantine) == len(photos)
    assert not set(outcome.accepted["photo"]) & set(outcome.quarantine["photo"])


@pytest.fixture
def workspace(
    tmp_path: Path,
    mini_collection: Path,
    repository: Path,
    default_params: Params,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., None]:
    """A folder with fetched and divided photographs; call it with the values of `validate:` to change."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path / "state"))
    (mini_collection / "animals" / "broken.jpg").write_bytes(b"no picture")
    paths.RAW.mkdir(parents=True)
    photos, _ = fetched([mini_collection], default_params.fetch, 200, paths.RAW)
    names = photos.loc[photos["photo"] != "", "photo"].sort_values()
    kinds = ["train"] * (len(names) - 4) + ["val", "val", "test", "test"]
    write_table(photos, paths.PHOTOS)
    write_table(
        pd.DataFrame({"photo": names, "split": kinds, "cluster": names, "excluded": ""}), paths.SPLITS
    )

    def configure(**changes: Any) -> None:
        values = {"min_train": 2, "min_val": 2, "min_test": 2, "max_cast": 100} | changes
        lines = (repository / paths.PARAMS).read_text().splitlines()
        keys = {line: line.strip().split(":")[0] for line in lines}
        replaced = [
            f"  {keys[line]}: {values[keys[line]]}" if keys[line] in values else line for line in lines
        ]
        paths.PARAMS.write_text("\n".join(replaced))

    return configure


def outputs() -> dict[str, bytes]:
    files = [paths.ACCEPTED, paths.QUARANTINE, paths.VALIDATION_JSON, paths.VALIDATION_PAGE]
    return {str(file): file.read_bytes() for file in files}


def test_the_stage_writes_the_same_bytes_twice(workspace: Callable[..., None]) -> None:
    workspace()
    validate.main()
    first = outputs()
    validate.main()
    assert outputs() == first
    accepted, quarantine = read_table(paths.ACCEPTED), read_table(paths.QUARANTINE)
    assert len(accepted) == 12
    assert quarantine["origin"].tolist() == ["photos/animals/broken.jpg"]
    assert quarantine["reason"].str.startswith("unreadable: ").all()
    page = paths.VALIDATION_PAGE.read_text()
    assert page.count("<img") == 8, "the training photographs"
    assert "photos/animals/broken.jpg" in page


def test_data_docs_are_built_into_the_state_folder_anew(workspace: Callable[..., None]) -> None:
    workspace()
    for _ in range(2):
        validate.main()
    docs = paths.data_docs()
    assert (docs / "index.html").exists()
    results = sorted(path.name for path in (docs / "validations").rglob("*.html"))
    assert len(results) == 3, "one page a suite, none of earlier runs"
    assert any("Colourfulness is at least 8" in path.read_text() for path in docs.rglob("*.html"))


def test_a_stop_says_what_to_do_after_writing_what_was_found(workspace: Callable[..., None]) -> None:
    workspace(min_val=3)
    paths.ACCEPTED.write_text("of an earlier run")
    run = subprocess.run(
        [sys.executable, "-m", "tintlab.stages.validate"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr == (
        "error: the photographs are unfit: The val split has at least 3 photographs (found: 2): add "
        "photographs to data/inbox/, or lower validate.min_val in params.yaml; see reports/validation.html\n"
    )
    assert not paths.ACCEPTED.exists()
    assert read_json(paths.VALIDATION_JSON)["passed"] is False
    assert len(read_table(paths.QUARANTINE)) == 1
    assert "stopped" in paths.VALIDATION_PAGE.read_text()
