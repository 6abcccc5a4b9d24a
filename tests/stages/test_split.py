import hashlib
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tintlab.stages import split_twins
from tintlab.stages.split import assign_splits, main, split_of
from tintlab.stages.split_twins import cut_segments, find_twins
from tintlab.system.params import SplitParams

RANKED = ["test", "val", "train"]
PARAMS = SplitParams(test=0.15, val=0.10, salt="tintlab", twin_distance=6)


def content_hash(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def table(photos: dict[int, int]) -> pd.DataFrame:
    """Photographs `number: perceptual hash`, named so that the order of names is not that of numbers."""
    return pd.DataFrame(
        {
            "photo": [f"{content_hash(number)[:12]}.jpg" for number in photos],
            "sha256": [content_hash(number) for number in photos],
            "phash": [f"{phash:016x}" for phash in photos.values()],
        },
        dtype="str",
    )


def bits(first: int, second: int) -> int:
    return (first ^ second).bit_count()


@st.composite
def collections(draw: st.DrawFn) -> dict[int, int]:
    """Photographs of which many are near each other: few centres, each with a few bits flipped."""
    centres = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
    numbers = draw(st.lists(st.integers(0, 300), unique=True, max_size=25))
    photos = {}
    for number in numbers:
        flips = draw(st.lists(st.integers(0, 63), max_size=6))
        phash = draw(st.sampled_from(centres))
        for flip in flips:
            phash ^= 1 << flip
        photos[number] = phash
    return photos


params_with_many_in_each_split = st.builds(
    SplitParams,
    test=st.sampled_from([0.15, 0.34]),
    val=st.sampled_from([0.10, 0.33]),
    salt=st.sampled_from(["tintlab", ""]),
    twin_distance=st.sampled_from([0, 3, 6, 10]),
)


# --- who goes where


@pytest.mark.parametrize(
    ("number", "split"),
    # h=$(printf '%s' N | sha256sum | cut -c-64); printf '%s' tintlab$h | sha256sum | cut -c-8, over 16^8:
    [
        (0, "train"),  # 96144c4e, 0.5862
        (1, "val"),  # 376a8896, 0.2165
        (10, "val"),  # 2698729a, 0.15076
        (272, "test"),  # 25439216, 0.14556
        (64, "train"),  # 40b28972, 0.25272
    ],
)
def test_golden_splits(number: int, split: str) -> None:
    assert split_of(content_hash(number), PARAMS) == split


def test_the_number_of_a_photo_decides_exactly() -> None:
    sha256 = content_hash(1)
    assert sha256 == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    digits = hashlib.sha256(
        b"tintlab6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    ).hexdigest()
    u = int(digits[:13], 16) / 16**13  # as many digits as a float holds
    assert u == pytest.approx(0.216469, abs=1e-6)
    for test, val, split in [(u - 1e-9, 0.0, "train"), (u - 1e-9, 1e-8, "val"), (u + 1e-9, 0.1, "test")]:
        assert split_of(sha256, PARAMS.model_copy(update={"test": test, "val": val})) == split


def test_shares_are_about_right_and_salts_shuffle() -> None:
    source = random.Random(0)
    hashes = [f"{source.getrandbits(256):064x}" for _ in range(10_000)]
    splits = [split_of(sha256, PARAMS) for sha256 in hashes]
    # Four standard deviations: sqrt(p (1 - p) / 10,000) is 0.0036 for test and 0.003 for val.
    assert splits.count("test") / 10_000 == pytest.approx(0.15, abs=0.0144)
    assert splits.count("val") / 10_000 == pytest.approx(0.10, abs=0.012)
    salted = [split_of(sha256, PARAMS.model_copy(update={"salt": "another"})) for sha256 in hashes]
    both = sum(a == b == "test" for a, b in zip(splits, salted, strict=True))
    assert both / 10_000 == pytest.approx(0.15**2, abs=0.006)  # independent of each other


@pytest.mark.parametrize(
    ("test", "val", "split"), [(0.0, 0.0, "train"), (0.0, 1.0, "val"), (1.0, 0.0, "test")]
)
def test_shares_of_nothing_and_everything(test: float, val: float, split: str) -> None:
    params = PARAMS.model_copy(update={"test": test, "val": val})
    assert {split_of(content_hash(number), params) for number in range(300)} == {split}


# --- stability


@settings(max_examples=80)
@given(old=collections(), new=collections(), params=params_with_many_in_each_split)
def test_new_photos_change_no_old_one(old: dict[int, int], new: dict[int, int], params: SplitParams) -> None:
    both = old | {number: phash for number, phash in new.items() if number not in old}
    before = assign_splits([table(old)], params).set_index("photo")
    after = assign_splits([table(both)], params).set_index("photo")
    assert set(after.index) == set(table(both)["photo"])
    assert after.loc[before.index, "split"].tolist() == before["split"].tolist()
    used_before = before[before["excluded"] == ""]
    used_after = after[after["excluded"] == ""]
    old_test = used_before.index[used_before["split"] == "test"]
    assert old_test.isin(used_after.index).all()

    phashes = dict(zip(table(both)["photo"], both.values(), strict=True))
    arrived = after.index.difference(before.index)
    for lost in used_before.index.difference(used_after.index):
        split = before.loc[lost, "split"]
        assert any(
            bits(phashes[lost], phashes[twin]) <= params.twin_distance
            and RANKED.index(after.loc[twin, "split"]) < RANKED.index(split)
            for twin in arrived
        )
    assert used_after.index.intersection(before.index).isin(used_before.index).all()  # none comes back


@given(photos=collections(), params=params_with_many_in_each_split, seed=st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(photos: dict[int, int], params: SplitParams, seed: int) -> None:
    rows = table(photos)
    shuffled = rows.sample(frac=1, random_state=seed)
    pd.testing.assert_frame_equal(assign_splits([shuffled], params), assign_splits([rows], params))


@given(photos=collections(), params=params_with_many_in_each_split)
def test_who_is_excluded_and_who_shares_a_cluster(photos: dict[int, int], params: SplitParams) -> None:
    rows = table(photos)
    phashes = dict(zip(rows["photo"], photos.values(), strict=True))
    splits = assign_splits([rows], params).set_index("photo")
    assert splits.index.tolist() == sorted(phashes)

    def near(first: str, second: str) -> bool:
        return bits(phashes[first], phashes[second]) <= params.twin_distance

    for photo, row in splits.iterrows():
        higher = [
            other
            for other in phashes
            if near(photo, other) and RANKED.index(splits.loc[other, "split"]) < RANKED.index(row["split"])
        ]
        assert bool(row["excluded"]) == bool(higher)
        reasons = {f"near-duplicate of {other} in {splits.loc[other, 'split']}" for other in higher}
        assert row["excluded"] in (reasons or {""})

        # The cluster by walking from twin to twin within the split.
        cluster, border = {photo}, [photo]
        while border:
            at = border.pop()
            for other in phashes:
                if other not in cluster and near(at, other) and splits.loc[other, "split"] == row["split"]:
                    cluster.add(other)
                    border.append(other)
        assert row["cluster"] == min(cluster)


def test_a_worked_example() -> None:
    # Numbers 0 and 64 train, 1 and 10 validate, 272 tests.
    names = {number: f"{content_hash(number)[:12]}.jpg" for number in (0, 1, 10, 64, 272)}
    photos = {272: 0, 1: 0b111111, 10: 0b111111 << 6, 0: 0b1111111 << 32, 64: 0b111 << 32}
    splits = assign_splits([table(photos)], PARAMS).set_index("photo")
    # 1 is 6 bits from the test photo. 0 is 7 bits from it and stays; 64 is 3 bits from it and 4 from 0.
    assert splits["excluded"].to_dict() == {
        names[272]: "",
        names[1]: f"near-duplicate of {names[272]} in test",
        names[10]: f"near-duplicate of {names[272]} in test",
        names[0]: "",
        names[64]: f"near-duplicate of {names[272]} in test",
    }
    assert splits.loc[names[0], "cluster"] == splits.loc[names[64], "cluster"] == min(names[0], names[64])
    assert splits.loc[names[1], "cluster"] == names[1]  # 12 bits from 10


def test_unreadable_files_are_left_out() -> None:
    rows = table({1: 0, 2: 1})
    unreadable = pd.DataFrame(
        {"photo": ["", ""], "sha256": [content_hash(8), content_hash(9)], "phash": ["", ""]}
    )
    splits = assign_splits([unreadable, rows], PARAMS)
    assert splits["photo"].tolist() == sorted(rows["photo"])


def test_no_photos_at_all() -> None:
    splits = assign_splits([table({})], PARAMS)
    assert splits.columns.tolist() == ["photo", "split", "cluster", "excluded"]
    assert splits.empty


# --- twins


def brute_force(hashes: list[int], distance: int) -> set[tuple[int, int]]:
    return {
        (first, second)
        for first in range(len(hashes))
        for second in range(first + 1, len(hashes))
        if bits(hashes[first], hashes[second]) <= distance
    }


def twins_of(hashes: list[int], distance: int) -> set[tuple[int, int]]:
    found = find_twins(np.array(hashes, np.uint64), distance)
    return {(int(first), int(second)) for pairs in found for first, second in pairs}


@pytest.fixture(params=["numpy", "compiled", "all"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the ways to search, however few the hashes are."""
    monkeypatch.setattr(split_twins, "_is_worth_cutting", lambda *_: request.param != "all")
    monkeypatch.setattr(split_twins, "COMPILED_FROM", 0 if request.param == "compiled" else 10**9)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("distance", [0, 1, 2, 6, 7, 10, 11, 13, 20])
def test_twins_are_those_that_comparing_all_finds(distance: int) -> None:
    source = np.random.default_rng(distance)
    hashes = [int(value) for value in source.integers(0, 2**64, 30, np.uint64)]
    for _ in range(60):  # near ones, at the distance itself and just beyond it
        phash = hashes[source.integers(0, 30)]
        for flip in source.choice(64, min(64, int(source.integers(0, distance + 3))), replace=False):
            phash ^= 1 << int(flip)
        hashes.append(phash)
    hashes += [0, 2**64 - 1]
    expected = brute_force(hashes, distance)
    assert expected
    assert twins_of(hashes, distance) == expected


@given(
    hashes=st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 255), max_size=12),
    distance=st.integers(0, 64),
)
def test_twins_of_any_hashes(hashes: list[int], distance: int) -> None:
    assert twins_of(hashes, distance) == brute_force(hashes, distance)


@pytest.mark.parametrize("distance", range(65))
def test_a_pair_within_the_distance_is_near_in_a_segment(distance: int) -> None:
    """The worst pairs differ in one bit more than the radius in all segments; they are farther apart."""
    segments = cut_segments(distance)
    assert sum(one.radius + 1 for one in segments) > distance
    covered = [bit for one in segments for bit in range(one.low, one.low + one.width)]
    assert len(set(covered)) == len(covered) and set(covered) <= set(range(64))


def test_compiled_and_numpy_find_the_same_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    source = np.random.default_rng(0)
    hashes = source.integers(0, 2**64, 20_000, np.uint64)
    hashes[-500:] = hashes[:500] ^ np.uint64(0b11_0000_0000_0111)
    monkeypatch.setattr(split_twins, "COMPILED_FROM", 0)
    compiled = twins_of(hashes.tolist(), 6)
    monkeypatch.setattr(split_twins, "COMPILED_FROM", 10**9)
    assert twins_of(hashes.tolist(), 6) == compiled
    assert {(place, 19_500 + place) for place in range(500)} <= compiled


def test_more_pairs_than_there_is_room_for_at_first() -> None:
    """All of 300 hashes are near each other."""
    source = np.random.default_rng(1)
    hashes = [1 << int(bit) for bit in source.integers(0, 20, 300)]
    many = [*hashes, *(int(value) for value in source.integers(2**40, 2**64, 20_000, np.uint64))]
    assert len([pair for pair in twins_of(many, 6) if pair[1] < 300]) == 300 * 299 // 2


def test_ten_thousand_copies_make_no_pairs() -> None:
    """The same hash everywhere: one cluster a split, and all but the test photographs are excluded."""
    rows = pd.DataFrame(
        {"photo": [f"{n:05}.jpg" for n in range(10_000)], "sha256": map(content_hash, range(10_000))}
    ).assign(phash="8" * 16)
    splits = assign_splits([rows], PARAMS)
    assert splits.groupby("split")["cluster"].nunique().tolist() == [1, 1, 1]
    first = {split: rows["photo"].iloc[0] for split, rows in splits.groupby("split")}
    reasons = {split: set(rows["excluded"]) for split, rows in splits.groupby("split")}
    twin, where = min((first["test"], "test"), (first["val"], "val"))
    assert reasons == {
        "test": {""},
        "val": {f"near-duplicate of {first['test']} in test"},
        "train": {f"near-duplicate of {twin} in {where}"},
    }


# --- the stage


def test_main_reads_and_writes_its_files(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((repository / "params.yaml").read_bytes())
    (tmp_path / "data").mkdir()
    columns = "photo,origin,category,sha256,bytes,copies,format,mode,width,height,phash,colourfulness,"
    columns += "l_low,l_high,a_low,a_high,b_low,b_high,problem\n"
    row = "{name},o,,{sha256},1,0,PNG,RGB,9,9,{phash:016x},1,0,9,0,9,0,9,\n"
    rows = [row.format(name=f"{n}.png", sha256=content_hash(n), phash=n << 40) for n in (0, 1, 272)]
    bad = f",o,,{content_hash(5)},1,0,,,0,0,,,,,,,,,the file is empty\n"
    (tmp_path / "data" / "photos.csv").write_text(columns + "".join(rows) + bad)
    main()
    assert (tmp_path / "data" / "splits.csv").read_text() == (
        "photo,split,cluster,excluded\n"
        "0.png,train,0.png,near-duplicate of 1.png in val\n"
        "1.png,val,1.png,near-duplicate of 272.png in test\n"
        "272.png,test,272.png,\n"
    )
    assert capsys.readouterr().out == "1 test, 0 val, 0 train, 2 near-duplicates excluded\n"
