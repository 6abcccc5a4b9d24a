"""Photographs in memory: bounded, and gone after an hour."""

import pytest

from tests.conftest import encode, make_picture
from tintlab.imaging.photos import PhotoError
from tintlab.studio.limits import Limits
from tintlab.studio.problems import Problem
from tintlab.studio.store import Store


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def photo(seed: int = 0) -> bytes:
    return encode(make_picture(48, 32, seed=seed))


def test_a_photograph_goes_an_hour_after_its_last_use() -> None:
    clock = Clock()
    store = Store(Limits(), clock)
    used, unused = store.add(photo(0)), store.add(photo(1))
    clock.now = 3000
    store.open(used)
    clock.now = 4000
    assert store.sweep() == 1
    store.open(used)
    with pytest.raises(Problem, match="not open any more"):
        store.open(unused)
    clock.now = 8000
    assert store.sweep() == 1
    assert len(store) == 0


def test_there_is_room_for_so_many_and_no_more() -> None:
    store = Store(Limits(held_photos=2))
    first = store.add(photo(0))
    store.add(photo(1))
    with pytest.raises(Problem) as caught:
        store.add(photo(2))
    assert caught.value.status_code == 507
    store.remove(first)
    store.add(photo(2))
    small = Store(Limits(held_bytes=len(photo(0)) + 10))
    small.add(photo(0))
    with pytest.raises(Problem):
        small.add(photo(1))


def test_decoded_photographs_make_room_and_come_back() -> None:
    store = Store(Limits(open_megapixels=2.5 * 48 * 32 / 1e6))
    ids = [store.add(photo(seed)) for seed in range(4)]
    opened = [held.opened is not None for held in store._held.values()]
    assert opened == [False, False, True, True]
    assert store.open(ids[0]).lightness.shape == (32, 48)
    assert sum(held.opened is not None for held in store._held.values()) == 2


def test_ids_cannot_be_guessed_and_broken_files_are_not_kept() -> None:
    store = Store(Limits())
    ids = {store.add(photo()) for _ in range(20)}
    assert len(ids) == 20
    assert all(len(one) >= 20 for one in ids)
    with pytest.raises(PhotoError):
        store.add(b"no picture")
    assert len(store) == 20
