"""Promotion and rollback on a real registry, and what people do to it by hand."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.registry.conftest import Verdict
from tintlab.cli import app
from tintlab.registry import champion, history, listing, promotion
from tintlab.registry import models as registry
from tintlab.registry.promotion import NotPassedError, promote, rollback
from tintlab.system.errors import TintlabError
from tintlab.tracking import store

Sql = Callable[..., list[tuple[Any, ...]]]
Alias = Callable[[], int | None]
WHY = "a test"

pytestmark = pytest.mark.usefixtures("state")


def reign(*versions: int) -> None:
    """Make these versions champion, one after the other."""
    for version in versions:
        promote(version, WHY, forced=True)


def champions() -> list[int]:
    with store.connect() as client:
        return [entry.change.version for entry in history.read(client).counted]


def shown(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()[1:]]


# -- promotion


def test_a_passing_verdict_promotes(judged: Verdict, alias: Alias) -> None:
    judged(1)
    assert promote(1) == "version 1 is champion now, entry 1 of the history"
    assert alias() == 1
    judged(2, champion=1)
    assert promote(2) == "version 2 is champion now instead of 1, entry 2 of the history"
    assert alias() == 2
    assert registry.locate("models:/tintlab@champion").version == 2
    assert registry.default_spec() == "models:/tintlab@champion"


def test_without_a_number_the_challenger_is_meant(judged: Verdict, alias: Alias) -> None:
    judged(3)
    promote()
    assert alias() == 3


def test_a_failing_verdict_does_not_promote(judged: Verdict, alias: Alias) -> None:
    judged(1, passed=False, reasons=["greyer than grey", "too small a gain"])
    with pytest.raises(NotPassedError, match="version 1 did not pass: greyer than grey; too small a gain"):
        promote(1)
    assert alias() is None
    assert champions() == []


@pytest.mark.parametrize(
    ("champion", "changes", "message"),
    [
        (None, {"version": 3}, "the verdict is on version 3, not on 2"),
        (
            None,
            {"weights_sha256": "0" * 64},
            r"another generator.safetensors \(0000000000000000…\) than that of",
        ),
        (
            1,
            {"bound": {"config_sha256": "0" * 64}},
            r"another config.json \(0000000000000000…\) than that of",
        ),
        (None, {}, r"judged against no model, but champion is version 1 \(weights"),
        (3, {}, r"judged against version 3 \(weights .*, but champion is version 1 \(weights"),
        (1, {"champion_weights_sha256": "0" * 64}, r"judged against version 1 \(weights 00000000…"),
        (1, {"version": 3, "passed": False}, "the verdict is on version 3, not on 2"),
        (1, {"passed": "yes"}, "did not pass"),
    ],
)
def test_only_a_verdict_against_the_present_champion_counts(
    judged: Verdict, champion: int | None, changes: dict[str, Any], message: str, alias: Alias
) -> None:
    reign(1)
    judged(2, champion=champion, **changes)
    with pytest.raises(TintlabError, match=message):
        promote(2)
    assert alias() == 1
    assert champions() == [1]


def test_a_verdict_against_a_champion_needs_that_champion(judged: Verdict) -> None:
    judged(2, champion=1)
    with pytest.raises(TintlabError, match=r"judged against version 1 .*, but champion is no model"):
        promote(2)


def test_an_unjudged_version_is_not_promoted() -> None:
    with pytest.raises(
        TintlabError, match="version 2 has not been judged: run `tintlab judge models:/tintlab/2`"
    ):
        promote(2)


def test_weights_changed_after_judging_are_refused(
    judged: Verdict, weights_of: Callable[[int], Path], alias: Alias
) -> None:
    judged(1)
    shutil.copyfile(weights_of(2), weights_of(1))
    with pytest.raises(
        TintlabError, match=r"generator.safetensors of version 1 was changed after it was registered"
    ):
        promote(1)
    with pytest.raises(TintlabError, match="was changed"):
        promote(1, WHY, forced=True)
    assert alias() is None


def test_weights_changed_with_their_sha256_are_refused(
    judged: Verdict, weights_of: Callable[[int], Path], sql: Sql, alias: Alias
) -> None:
    verdict = judged(1)
    shutil.copyfile(weights_of(2), weights_of(1))
    other = registry.locate("models:/tintlab/2").weights_sha256
    sql(
        "update model_version_tags set value=? "
        "where name='tintlab' and version=1 and key='tintlab.weights_sha256'",
        other,
    )
    message = (
        f"another generator.safetensors .{verdict['weights_sha256'][:16]}….* of version 1 .{other[:16]}…"
    )
    with pytest.raises(TintlabError, match=message):
        promote(1)
    assert alias() is None


def test_a_changed_config_is_refused(judged: Verdict, weights_of: Callable[[int], Path]) -> None:
    judged(1)
    config = weights_of(1).with_name("config.json")
    config.write_text(json.dumps(json.loads(config.read_text()) | {"saturation": 9.0}))
    with pytest.raises(TintlabError, match=r"config.json of version 1 was changed"):
        promote(1)


def test_force_needs_a_reason_and_is_remembered(alias: Alias) -> None:
    with pytest.raises(TintlabError, match="--force needs a reason"):
        promote(1, " ", forced=True)
    promote(1, "the archive likes it better", forced=True)
    assert alias() == 1
    assert "promote (forced)" in listing.list_history()
    assert "the archive likes it better" in listing.list_history()


def test_the_champion_is_not_promoted_again() -> None:
    reign(1)
    with pytest.raises(NotPassedError, match="version 1 is champion already"):
        promote(1, WHY, forced=True)
    assert champions() == [1]


def test_if_passed_ends_well_only_where_the_verdict_says_no(judged: Verdict) -> None:
    run = CliRunner().invoke
    judged(1, passed=False, reasons=["too grey"])
    answer = run(app, ["promote", "1", "--if-passed"])
    assert (answer.exit_code, answer.output) == (0, "nothing is promoted: version 1 did not pass: too grey\n")
    assert run(app, ["promote", "1"]).exit_code == 1
    assert run(app, ["promote", "2", "--if-passed"]).exit_code == 1  # not judged
    judged(1)
    assert run(app, ["promote", "1", "--if-passed"]).output.startswith("version 1 is champion now")
    assert (
        run(app, ["promote", "1", "--if-passed"]).output
        == "nothing is promoted: version 1 is champion already\n"
    )


def challenger() -> int | None:
    """The version that the alias names."""
    with store.connect() as client:
        named = client.get_registered_model("tintlab").aliases.get("challenger")
    return int(named) if named else None


def test_a_rejected_challenger_does_not_stay_challenger(judged: Verdict) -> None:
    reign(1)
    judged(3, champion=1, passed=False, reasons=["too grey"])
    said = promotion.promote_if_passed()
    assert said == "nothing is promoted: version 3 did not pass: too grey; version 2 is the challenger again"
    assert challenger() == 2
    judged(2, champion=1, passed=False, reasons=["too grey"])
    assert promotion.promote_if_passed().endswith("; it is no longer the challenger")  # 1 is champion
    assert challenger() is None
    with pytest.raises(TintlabError, match="there is no challenger: name a version"):
        promote()
    assert promotion.promote_if_passed(3) == "nothing is promoted: version 3 did not pass: too grey"
    assert champions() == [1]


def test_only_the_first_reasons_are_in_the_message(judged: Verdict) -> None:
    reasons = [f"measure {number} is worse than the champion's" for number in range(5)]
    judged(1, passed=False, reasons=reasons)
    with pytest.raises(NotPassedError) as fault:
        promote(1)
    assert str(fault.value) == (f"version 1 did not pass: {reasons[0]}; {reasons[1]}; 3 more on its page")
    assert len(str(fault.value)) <= 200


# -- two at once


def test_a_change_decided_on_an_older_champion_is_refused() -> None:
    reign(1)
    with store.connect() as client:
        stale = history.Change("promote", 3, "sha", expected=1, why="")
        reign(2)
        with pytest.raises(
            history.BeatenError, match=r"version 3 was not made champion: .* made it version 2"
        ):
            history.append(client, stale)
    assert champions() == [1, 2]


def test_of_two_entries_at_once_the_second_does_not_count(alias: Alias) -> None:
    reign(1)
    with store.connect() as client:
        # Both writers had looked before either wrote.
        for version in (2, 3):
            history._write(
                client, history.Change("promote", version, "sha", expected=1, why=""), f"nonce {version}"
            )
        log = history.read(client)
    assert [entry.change.version for entry in log.counted] == [1, 2]
    assert [entry.change.version for entry in log.beaten] == [3]
    assert "entry 3 came too late and changed nothing: promote of version 3" in listing.list_history()
    assert alias() == 2


def test_an_alias_set_late_by_a_loser_is_corrected(alias: Alias) -> None:
    reign(1)
    with store.connect() as client:
        before = history.read(client)
        reign(2)
        # Read before the second promotion, set after it.
        champion.correct_alias(client, before, lambda _: None)
    assert alias() == 2


# -- rollback


def test_rollback_restores_twice_and_the_history_keeps_all(alias: Alias) -> None:
    reign(1, 2, 3)
    assert rollback("red skies") == "version 2 is champion now instead of 3, entry 4 of the history"
    assert alias() == 2
    assert rollback() == "version 1 is champion now instead of 2, entry 5 of the history"
    assert alias() == 1
    with pytest.raises(TintlabError, match="no usable champion before version 1"):
        rollback()
    assert champions() == [1, 2, 3, 2, 1]
    rows = shown(listing.list_history())
    assert [row[:2] for row in rows] == [["5", "1"], ["4", "2"], ["3", "3"], ["2", "2"], ["1", "1"]]
    assert "red skies" in listing.list_history()
    # Each reign ends when the next begins; the last goes on.
    assert rows[0][4] == "now"
    assert [row[4:6] for row in rows[1:]] == [row[2:4] for row in rows[:-1]]


def test_after_a_rollback_a_promotion_can_be_taken_back_too(alias: Alias) -> None:
    reign(1, 2)
    rollback()
    reign(3)
    rollback()
    assert alias() == 1


def test_rollback_without_a_champion_says_so() -> None:
    with pytest.raises(TintlabError, match="there is no champion to roll back"):
        rollback()


def test_rollback_passes_over_a_damaged_model(
    weights_of: Callable[[int], Path], alias: Alias, capsys: pytest.CaptureFixture[str]
) -> None:
    reign(1, 2, 3)
    weights_of(2).write_bytes(b"not what it was")
    rollback()
    assert alias() == 1
    assert (
        "version 2 is passed over: generator.safetensors of version 2 was changed" in capsys.readouterr().err
    )


# -- by hand


def test_an_alias_deleted_by_hand_is_noticed_and_restored(
    sql: Sql, alias: Alias, capsys: pytest.CaptureFixture[str]
) -> None:
    reign(1, 2)
    sql("delete from registered_model_aliases where alias='champion'")
    assert registry.locate("champion").version == 2
    said = "note: the alias champion was missing, so someone deleted it by hand; it names version 2"
    assert said in capsys.readouterr().err
    assert alias() == 2
    assert registry.locate("champion").version == 2
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", [listing.list_models, listing.list_history, promotion.rollback])
def test_an_alias_moved_by_hand_is_noticed_and_put_back(
    command: Callable[[], str], sql: Sql, alias: Alias, capsys: pytest.CaptureFixture[str]
) -> None:
    reign(1, 2)
    sql("update registered_model_aliases set version=3 where alias='champion'")
    command()
    said = "the alias champion named version 3, so someone moved it by hand; it names version 2 now"
    assert said in capsys.readouterr().err
    assert alias() == (1 if command is promotion.rollback else 2)


def test_an_alias_set_by_hand_before_any_promotion_is_removed(
    sql: Sql, alias: Alias, capsys: pytest.CaptureFixture[str]
) -> None:
    sql(
        "insert into registered_model_aliases (name, workspace, alias, version) "
        "values ('tintlab', 'default', 'champion', 3)"
    )
    with pytest.raises(TintlabError, match="there is no champion yet"):
        registry.locate("champion")
    assert "the alias champion named version 3, which was never promoted: removed" in capsys.readouterr().err
    assert alias() is None


def test_the_next_command_finishes_an_interrupted_promotion(
    sql: Sql, alias: Alias, capsys: pytest.CaptureFixture[str]
) -> None:
    reign(1, 2)
    sql("update registered_model_aliases set version=1 where alias='champion'")
    assert registry.locate("champion").version == 2
    said = "the alias champion named version 1, as before entry 2 of the history: a command was cut short"
    assert said in capsys.readouterr().err
    assert alias() == 2


def test_a_champion_deleted_in_mlflow_is_noticed(alias: Alias, capsys: pytest.CaptureFixture[str]) -> None:
    reign(1, 2)
    with store.connect() as client:
        client.delete_model_version("tintlab", "2")
    assert alias() is None  # MLflow says nothing about it
    with pytest.raises(
        TintlabError, match="version 2, the champion, was deleted in MLflow: `tintlab rollback`"
    ):
        registry.locate("champion")
    rollback()
    assert alias() == 1
    assert champions() == [1, 2, 1]


def test_a_champion_with_another_recorded_sha256_is_not_used(
    weights_of: Callable[[int], Path], sql: Sql, alias: Alias
) -> None:
    reign(1, 3)
    shutil.copyfile(weights_of(2), weights_of(3))
    sql(
        "update model_version_tags set value=? "
        "where name='tintlab' and version=3 and key='tintlab.weights_sha256'",
        registry.locate("models:/tintlab/2").weights_sha256,
    )
    with pytest.raises(TintlabError, match="version 3 has another recorded sha256 than the model"):
        registry.locate("champion")
    rollback()
    assert alias() == 1


def test_an_entry_deleted_by_hand_changes_nothing_else(
    alias: Alias, capsys: pytest.CaptureFixture[str]
) -> None:
    reign(1, 2, 3)
    with store.connect() as client:
        client.delete_model_version(history.HISTORY_NAME, "2")
    assert registry.locate("champion").version == 3
    assert "entry 2 of the history is gone or unreadable" in capsys.readouterr().err
    rollback()
    assert alias() == 1
    assert champions() == [1, 3, 1]


def test_a_version_made_by_hand_in_the_history_changes_nothing(alias: Alias) -> None:
    reign(1)
    with store.connect() as client:
        client.create_model_version(
            history.HISTORY_NAME, source="models:/tintlab/2", tags={"tintlab.entry": "{}"}
        )
    reign(3)
    assert champions() == [1, 3]
    assert alias() == 3


# -- what is shown


def test_models_lists_versions_aliases_and_verdicts(judged: Verdict) -> None:
    judged(1)
    promote(1)
    judged(2, champion=1, passed=False)
    rows = shown(listing.list_models())
    assert [row[0] for row in rows] == ["3", "2", "1"]
    assert rows[0][1] == "challenger"
    assert rows[2][1] == "champion"
    assert "failed against version 1" in listing.list_models()
    assert registry.locate("models:/tintlab/2").weights_sha256[:12] in rows[1]


def test_models_lists_all_aliases_of_a_version(judged: Verdict) -> None:
    judged(1)
    promote(1)
    with store.connect() as client:
        client.set_registered_model_alias(history.MODEL_NAME, "staging", "1")
    assert "champion, staging" in listing.list_models()


def test_nothing_promoted_yet_is_said() -> None:
    assert listing.list_history() == "there has been no champion yet: `tintlab promote` makes one"


def test_names_and_reasons_can_not_break_the_terminal() -> None:
    promote(1, "ok\x1b[31m\nentry 99", forced=True)
    text = listing.list_history()
    assert "\x1b" not in text
    assert len(text.splitlines()) == 2
