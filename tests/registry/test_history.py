"""The log of champions as a calculation: what counts, who reigned, what a rollback goes back to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tintlab.registry.history import Action, Change, Entry, History, project

START = datetime(2026, 1, 1, tzinfo=UTC)


def entry(number: int, version: int, expected: int, action: Action = "promote") -> Entry:
    change = Change(action, version, f"sha of {version}", expected, "")
    return Entry(number, change, "someone", START + timedelta(hours=number), f"nonce {number}")


def numbers(history: History) -> list[int]:
    return [counted.number for counted in history.counted]


def former(history: History) -> list[int]:
    return [change.version for change in history.former()]


def test_an_empty_log_has_no_champion() -> None:
    history = project([])
    assert (history.head, history.champion, history.former()) == (0, None, [])


def test_of_two_that_saw_the_same_head_the_first_counts() -> None:
    history = project([entry(3, 7, expected=1), entry(1, 5, expected=0), entry(2, 6, expected=1)])
    assert numbers(history) == [1, 2]
    assert [late.number for late in history.beaten] == [3]
    assert history.champion is not None
    assert history.champion.version == 6


def test_an_entry_that_saw_an_earlier_reign_does_not_count() -> None:
    # 5 was champion when the writer of the last entry looked, and is champion again: but two changes lie between.
    history = project([entry(1, 5, 0), entry(2, 6, 1), entry(3, 5, 2, "rollback"), entry(4, 7, 1)])
    assert numbers(history) == [1, 2, 3]


def test_rollbacks_go_further_back_each_time() -> None:
    log = [entry(1, 1, 0), entry(2, 2, 1), entry(3, 3, 2)]
    assert former(project(log)) == [2, 1]
    log.append(entry(4, 2, 3, "rollback"))
    assert former(project(log)) == [1]
    log.append(entry(5, 4, 4))
    assert former(project(log)) == [2, 1]
    log += [entry(6, 2, 5, "rollback"), entry(7, 1, 6, "rollback")]
    assert former(project(log)) == []


def test_a_model_that_reigned_twice_is_gone_back_to_twice() -> None:
    log = [entry(1, 1, 0), entry(2, 2, 1), entry(3, 1, 2)]
    assert former(project(log)) == [2, 1]
    log.append(entry(4, 2, 3, "rollback"))
    assert former(project(log)) == [1]


def test_a_number_given_to_another_model_is_another_model() -> None:
    log = [entry(1, 1, 0), entry(2, 2, 1)]
    other = entry(3, 2, 2)
    log.append(replace(other, change=replace(other.change, weights_sha256="other")))
    assert [change.weights_sha256 for change in project(log).former()] == ["sha of 2", "sha of 1"]


def test_a_lost_entry_changes_no_later_one() -> None:
    whole = [entry(1, 1, 0), entry(2, 2, 1), entry(3, 3, 1), entry(4, 4, 2), entry(5, 5, 4)]
    assert numbers(project(whole)) == [1, 2, 4, 5]
    for lost in (2, 3, 4):
        history = project([one for one in whole if one.number != lost])
        assert numbers(history) == [number for number in (1, 2, 4, 5) if number != lost]
        assert history.lost == (lost,)
        assert history.champion == whole[-1].change


def test_unreadable_entries_at_the_end_are_told() -> None:
    assert project([entry(1, 1, 0)], [1, 2]).lost == (2,)


@given(st.lists(st.integers(0, 5), max_size=30), st.randoms(use_true_random=False))
def test_each_head_is_followed_by_one_entry(lags: list[int], random) -> None:  # type: ignore[no-untyped-def]
    """Writers that saw the log up to five entries ago; the projection is worked out entry by entry."""
    log: list[Entry] = []
    heads = [0]
    for number, lag in enumerate(lags, 1):
        expected = heads[max(0, len(heads) - 1 - lag)]
        log.append(entry(number, number, expected))
        if expected == heads[-1]:
            heads.append(number)
    shuffled = list(log)
    random.shuffle(shuffled)
    history = project(shuffled)
    assert numbers(history) == heads[1:]
    assert len(history.counted) + len(history.beaten) == len(log)
    # What is written later changes nothing of what was read before.
    for length in range(len(log)):
        assert numbers(history)[: len(project(log[:length]).counted)] == numbers(project(log[:length]))
