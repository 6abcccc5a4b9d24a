"""The judge on real photographs: what people find believable must rank above grey, and blotches below."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import zoom

from tintlab.evaluation import judge, metrics
from tintlab.evaluation.judge import Judge, view
from tintlab.gan import efficientnet
from tintlab.imaging import color
from tintlab.inference.guided import joined

RANDOM = np.random.default_rng(0)
COUNT = 16


@pytest.fixture(scope="module")
def photos(repository: Path) -> list[color.Byte]:
    """Photographs of the starter set, evenly spread over it, but for those without much colour."""
    with zipfile.ZipFile(repository / "data" / "starter-photos.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".webp"))
        files = [io.BytesIO(archive.read(name)) for name in names[:: len(names) // (2 * COUNT)]]
    pictures = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    return [rgb for rgb in pictures if color.colourfulness(rgb) > 20][:COUNT]


@pytest.fixture(scope="module")
def the_judge() -> Judge:
    return Judge()


def blobs(shape: tuple[int, ...], strength: float, size: float) -> NDArray[np.float32]:
    """Smooth random ab, `(h, w, 2)`, with patches of about `size` pixels."""
    small = RANDOM.normal(0, strength, (round(shape[0] / size) + 2, round(shape[1] / size) + 2, 2))
    planes = zoom(small, (shape[0] / small.shape[0], shape[1] / small.shape[1], 1), order=3)
    return planes[: shape[0], : shape[1]].astype(np.float32)


def test_believable_ranks_above_grey_and_blotchy_below(photos: list[color.Byte], the_judge: Judge) -> None:
    """Believable: paler than the truth, and a little off everywhere."""
    assert len(photos) == COUNT
    features: dict[str, list[NDArray[np.float64]]] = {}
    same: dict[str, list[bool]] = {}
    for rgb in photos:
        lab = color.rgb_to_lab(rgb)
        lightness, ab = lab[..., 0], lab[..., 1:]
        kinds = {
            "true": rgb,
            "believable": joined(lightness, ab * np.float32(0.8) + blobs(ab.shape, 6, 80)),
            "grey": joined(lightness, 0 * ab),
            "blotchy": joined(lightness, blobs(ab.shape, 30, 40)),
        }
        seen, classes = the_judge.look(np.stack([view(picture) for picture in kinds.values()]))
        for kind, feature, known in zip(kinds, seen, classes, strict=True):
            features.setdefault(kind, []).append(feature)
            same.setdefault(kind, []).append(known == classes[0])
    stacked = {kind: np.stack(rows) for kind, rows in features.items()}
    similarity = {kind: metrics.similarity(rows, stacked["true"]) for kind, rows in stacked.items()}
    distance = {
        kind: metrics.kernel_distance(metrics.kernel_terms(rows, stacked["true"]))[0]
        for kind, rows in stacked.items()
    }
    assert similarity["believable"].mean() > similarity["grey"].mean() + 0.05
    assert similarity["grey"].mean() > similarity["blotchy"].mean() + 0.05
    assert (similarity["believable"] > similarity["grey"]).mean() > 0.9
    assert (similarity["blotchy"] < similarity["grey"]).mean() > 0.7
    assert distance["believable"] < distance["grey"] / 4
    assert distance["blotchy"] > distance["grey"] * 1.5
    assert np.mean(same["believable"]) > np.mean(same["grey"])
    assert np.mean(same["grey"]) > np.mean(same["blotchy"])


def test_a_view_is_the_whole_photo_at_the_networks_size() -> None:
    assert efficientnet.VARIANTS[judge.NETWORK].input_size == judge.SIDE
    columns = np.linspace(0, 255, 960)[None, :, None]
    ramp = np.broadcast_to(columns, (480, 960, 3)).astype(np.uint8)
    seen = view(ramp)
    assert seen.shape == (240, 480, 3)
    assert seen[0, 0, 0] < 2  # both ends are there
    assert seen[0, -1, 0] > 252
    assert view(ramp.transpose(1, 0, 2)).shape == (480, 240, 3)
    assert view(ramp[:1, :1]).shape == (240, 240, 3)


def test_only_the_ends_of_very_long_photos_are_cut() -> None:
    columns = np.linspace(0, 255, 4001)[None, :, None]
    long = np.broadcast_to(columns, (37, 4001, 3)).astype(np.uint8)
    seen = view(long)
    assert seen.shape[0] == 240
    assert seen.shape[1] == pytest.approx(4 * 240, abs=8)
    assert seen[0, seen.shape[1] // 2, 0] == pytest.approx(127, abs=2)
    assert view(np.ascontiguousarray(long.transpose(1, 0, 2))).shape == seen.transpose(1, 0, 2).shape


def test_a_picture_is_judged_alike_alone_and_beside_others(
    photos: list[color.Byte], the_judge: Judge
) -> None:
    views = np.stack([view(photos[0]), view(photos[0])[:, ::-1], 255 - view(photos[0])])
    together, classes = the_judge.look(views)
    assert together.shape == (3, 1280)
    assert together.min() >= 0
    assert together.max() <= 6
    for at in range(3):
        alone, known = the_judge.look(views[at : at + 1])
        np.testing.assert_allclose(alone[0], together[at], atol=1e-4)
        assert known[0] == classes[at]
