import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.explore.conftest import Z_DIM, generator, painter
from tintlab.explore import directions, effects, steering
from tintlab.explore.attributes import ATTRIBUTES
from tintlab.explore.directions import Direction, Directions, fit_boundary
from tintlab.explore.model import Explored
from tintlab.explore.subjects import Subject
from tintlab.gan.unet import UNet
from tintlab.inference.colorizer import Colorizer, Settings
from tintlab.system.errors import TintlabError

# a* and b* of the first three numbers of z; the fourth changes nothing.
EFFECTS = np.array([[0.0, 1.0], [1.0, 0.0], [0.6, 0.8], [0.0, 0.0]])


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_known_boundaries_are_found_whatever_photos_show() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(size=16)
    z = random.normal(size=(20, 40, 16))
    photos = random.normal(0, 50, size=(20, 1))  # what a photo shows outweighs all that codes do
    found = fit_boundary(z, z @ truth + photos + random.normal(0, 0.3, size=(20, 40)), 0)
    assert found is not None
    assert cosine(np.array(found.normal), truth) > 0.97
    assert np.linalg.norm(found.normal) == pytest.approx(1)
    assert found.accuracy > 0.97
    assert (found.fitted, found.held_out) == (14 * 16, 6 * 16)


def test_a_boundary_of_nothing_is_chance_on_held_out_photos() -> None:
    random = np.random.default_rng(1)
    found = fit_boundary(random.normal(size=(30, 40, 16)), random.normal(size=(30, 40)), 0)
    assert found is not None
    assert found.accuracy == pytest.approx(0.5, abs=0.1)


def test_an_attribute_of_few_photographs_gives_no_direction() -> None:
    values = np.full((10, 20), np.nan)
    values[:3] = 1
    assert fit_boundary(np.zeros((10, 20, 4)), values, 0) is None


def test_directions_of_a_painter_are_those_of_its_effects(scenes: list[Subject]) -> None:
    found = directions.find(painter(EFFECTS), scenes, 60, 0)
    assert set(found.directions) == set(ATTRIBUTES)
    along = {"warm": 70, "green": 160, "sky": 270, "foliage": 180}
    for name, hue in along.items():
        truth = EFFECTS @ (np.cos(np.deg2rad(hue)), np.sin(np.deg2rad(hue)))
        assert cosine(found.normal(name), truth) > 0.95, name
        assert found.directions[name].accuracy > 0.9, name


def test_steps_are_monotone_and_conditional_ones_spare_others(
    scenes: list[Subject],
) -> None:
    model = painter(EFFECTS)
    found = directions.find(model, scenes, 60, 0)
    kept = found.model_copy(
        update={"directions": {name: found.directions[name] for name in ("warm", "green")}}
    )
    for conditional in (False, True):
        along = effects.measure_curves(model.colorizer, scenes, kept, ["warm", "green"], conditional)
        order = [list(ATTRIBUTES).index(name) for name in ("warm", "green")]
        assert (effects.monotone_share(along, order) == 1).all()
    table = effects.effects(along[..., order], np.ones(2))
    assert abs(table[0, 1]) < 0.15 * table[0, 0]
    assert abs(table[1, 0]) < 0.15 * table[1, 1]


def test_effects_are_slopes_in_spreads_and_falls_are_counted() -> None:
    steps = steering.STEPS
    along = np.stack([np.stack([2 * steps, -steps, np.full(7, np.nan)], axis=-1)] * 4)[None]  # one direction
    table = effects.effects(along[..., :2], np.array([2.0, 4.0]))
    assert table == pytest.approx(np.array([[1.0, -0.25]]))
    bent = along[..., :1].copy()
    bent[0, 0, 3] = 99  # up once more than it should, then down
    assert effects.monotone_share(bent, [0]) == pytest.approx(np.array([[3 / 4, 23 / 24]]))


def test_conditional_directions_are_orthogonal_to_held_ones() -> None:
    found = made(np.random.default_rng(0).normal(size=(5, 8)))
    for name in found.directions:
        way = found.conditional(name)
        assert np.linalg.norm(way) == pytest.approx(1)
        assert way @ found.normal(name) > 0
        for other in ATTRIBUTES[name].held:
            assert way @ found.normal(other) == pytest.approx(0, abs=1e-9)
    twice = made(np.ones((2, 8)))
    with pytest.raises(TintlabError, match="can't be changed alone"):
        twice.conditional("warm")
    assert twice.separable() == []
    assert found.separable() == list(ATTRIBUTES)


def test_no_steps_are_the_deterministic_path(scenes: list[Subject]) -> None:
    colorizer = Colorizer(generator(), 32, Settings(working_size=64, flip_average=True))
    found = made(np.random.default_rng(0).normal(size=(2, Z_DIM)))
    lightness = scenes[0].lightness
    plain = colorizer.predict_working_ab(lightness[None])
    z = found.code({"warm": 0.0, "saturation": 0.0})
    assert (colorizer.predict_variants(lightness, z[None]) == plain).all()
    there_and_back = found.code({"warm": 1.0}) + found.code({"warm": -1.0})
    assert (there_and_back == 0).all()
    assert (colorizer.predict_variants(lightness, found.code({"warm": 2.0})[None]) != plain).any()


def made(normals: np.ndarray, weights: str = "ab" * 32) -> Directions:
    names = list(ATTRIBUTES)[: len(normals)]
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    return Directions(
        weights_sha256=weights,
        z_dim=normals.shape[1],
        photos=1,
        codes_a_photo=1,
        seed=0,
        directions={
            name: Direction(normal=list(normal), accuracy=1, fitted=1, held_out=1)
            for name, normal in zip(names, normals / lengths, strict=True)
        },
    )


def test_directions_are_kept_and_bound_to_the_weights(tmp_path: Path) -> None:
    model = replace(painter(EFFECTS), folder=tmp_path)
    path = directions.place(tmp_path)
    with pytest.raises(TintlabError, match="tintlab explore directions"):
        directions.load(path, model)
    wanted = made(np.eye(3, Z_DIM))
    directions.save(path, wanted)
    assert directions.load(path, model) == wanted
    other = Explored(tmp_path, "cd" * 32, "", model.colorizer)
    with pytest.raises(
        TintlabError, match=r"belongs to another model .*abababababababab, not cdcdcdcdcdcdcdcd"
    ):
        directions.load(path, other)
    content = json.loads(path.read_text())
    content["directions"]["warm"]["normal"] = [1.0]
    path.write_text(json.dumps(content))
    with pytest.raises(TintlabError, match="lacks numbers"):
        directions.load(path, model)
    del content["z_dim"]
    path.write_text(json.dumps(content))
    with pytest.raises(TintlabError, match="z_dim"):
        directions.load(path, model)


def test_unknown_attributes_are_named_with_the_known() -> None:
    with pytest.raises(TintlabError, match="no direction for 'moody': this model has warm, saturation"):
        made(np.eye(2, Z_DIM)).code({"moody": 1})


def test_codes_of_wrong_length_or_without_noise_are_refused(
    scenes: list[Subject],
) -> None:
    colorizer = Colorizer(generator(), 32, Settings(working_size=64))
    with pytest.raises(TintlabError, match="takes noise vectors of 4 numbers, got 3"):
        colorizer.predict_variants(scenes[0].lightness, np.zeros((1, 3), np.float32))
    plain = Colorizer(UNet(32, 4, 0.0).eval(), 32, Settings(working_size=64))
    with pytest.raises(TintlabError, match="takes no noise vector, got 3"):
        plain.predict_variants(scenes[0].lightness, np.zeros((1, 3), np.float32))
