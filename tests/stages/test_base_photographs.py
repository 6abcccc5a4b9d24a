"""The committed list of the photographs that the base model learned from."""

import hashlib
import io
import zipfile

import imagehash
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tintlab.stages.split import split_of
from tintlab.system import paths
from tintlab.system.params import load_params

FOLDER = paths.PARAMS.resolve().parent / "docs" / "base-model"
NEAR = 10  # bits of 64


@pytest.fixture(scope="module")
def listed() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "photographs.csv", dtype={"phash": str})


def nearest(some: list[str], others: list[str]) -> np.ndarray:
    """The least distance in bits of each hash of `some` to any of `others`."""
    left, right = (np.array([int(text, 16) for text in each], np.uint64) for each in (some, others))
    return np.bitwise_count(left[:, None] ^ right).min(axis=1)


def test_every_photograph_has_an_origin_and_a_licence(listed: pd.DataFrame) -> None:
    sources = pd.read_csv(FOLDER / "sources.csv")
    assert set(listed["origin"]) == set(sources["origin"])
    assert sources.notna().all().all()
    assert not listed.duplicated(["origin", "original"]).any()
    assert set(listed["split"]) == {"train", "val"}


def test_no_photograph_resembles_one_that_only_judges(listed: pd.DataFrame) -> None:
    held_out = pd.read_csv(FOLDER / "held-out.csv", dtype={"phash": str})
    assert len(held_out) == 251
    assert nearest(list(listed["phash"]), list(held_out["phash"])).min() > NEAR


def test_no_base_photo_resembles_a_starter_test_photo(listed: pd.DataFrame) -> None:
    params = load_params().split
    hashes = []
    with zipfile.ZipFile(paths.PARAMS.resolve().parent / paths.STARTER) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            if name.endswith(".webp") and split_of(hashlib.sha256(data).hexdigest(), params) != "train":
                hashes.append(str(imagehash.phash(Image.open(io.BytesIO(data)).convert("RGB"))))
    assert len(hashes) == 89
    trained = listed.loc[listed["split"] == "train", "phash"]
    assert nearest(list(trained), hashes).min() > NEAR
