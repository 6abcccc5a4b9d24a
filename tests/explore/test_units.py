import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.explore.conftest import generator, subject
from tintlab.explore import units
from tintlab.explore.subjects import Subject
from tintlab.system.errors import TintlabError


class Meadow(nn.Module):
    """Its first unit is on in the upper half and makes blue there, its second below, green; the third is idle."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Identity()

    def forward(self, L: Tensor) -> Tensor:
        height, width = L.shape[2:]
        rows = torch.arange(height)[:, None].expand(height, width)
        above = (rows < height // 2).float()
        known = self.up(torch.stack([above, 1 - above, torch.zeros_like(above)])[None])
        return torch.stack([-0.3 * known[:, 1], -0.4 * known[:, 0] + 0.3 * known[:, 1]], dim=1)


@pytest.fixture
def meadows(scenes: list[Subject]) -> list[Subject]:
    # Larger, for maps are compared at a quarter of the size.
    return [subject(np.kron(one.coloured(one.ab), np.ones((2, 2, 1), np.uint8)), one.photo) for one in scenes]


def test_units_are_found_to_fit_what_they_are_on_for(meadows: list[Subject]) -> None:
    found = {match.unit: match for match in units.best_matches(units.find_matches(Meadow(), "up", meadows))}
    assert found[0].concept.startswith("blue, ")
    assert found[1].concept.startswith("green, ")
    assert found[0].iou > 0.8
    assert found[1].iou > 0.8
    assert 2 not in found


def test_ablation_changes_only_what_it_should(meadows: list[Subject]) -> None:
    model, half = Meadow(), len(meadows[0].lightness) // 2
    before = units.predict_ab(model, meadows[0].lightness)
    with units.force_units(model, "up", [0], [0.0]):
        without = units.predict_ab(model, meadows[0].lightness)
    assert (without[:half] == 0).all()
    assert (before[:half, :, 1] < -40).all()
    assert (without[half:] == before[half:]).all()
    assert (units.predict_ab(model, meadows[0].lightness) == before).all()
    with units.force_units(model, "up", [2], [0.0]):
        assert (units.predict_ab(model, meadows[0].lightness) == before).all()


def test_effects_are_told_inside_and_outside_of_the_concept(meadows: list[Subject]) -> None:
    off = units.measure_effect(Meadow(), "up", [0], [0.0], meadows, "blue, top")
    assert (off.inside, off.a, off.b) == pytest.approx((44, 0, 44), abs=1e-4)
    on = units.measure_effect(Meadow(), "up", [0], [1.0], meadows, "green, bottom")
    assert (on.inside, on.b) == pytest.approx((44, -44), abs=1e-4)
    with pytest.raises(TintlabError, match="anything that is purple, top"):
        units.measure_effect(Meadow(), "up", [0], [0.0], meadows, "purple, top")


def test_in_the_real_network_other_units_of_the_layer_stay(meadows: list[Subject]) -> None:
    model, photo = generator(), units.crop(meadows[0], 32)
    before = units.record_maps(model, "up_blocks.1", photo.lightness)
    with units.force_units(model, "up_blocks.1", [3], [0.0]):
        off = units.record_maps(model, "up_blocks.1", photo.lightness)
        deeper = units.record_maps(model, "up_blocks.0", photo.lightness)
        colours = units.predict_ab(model, photo.lightness)
    others = [unit for unit in range(len(before)) if unit != 3]
    assert (off[3] == 0).all()
    assert (off[others] == before[others]).all()
    assert (deeper == units.record_maps(model, "up_blocks.0", photo.lightness)).all()
    assert (colours != units.predict_ab(model, photo.lightness)).any()


def test_concepts_are_the_hues_and_places_of_the_truth() -> None:
    lab = np.zeros((9, 4, 3), np.float32)
    lab[..., 0] = 60
    lab[:3, :, 2] = -30  # 270 degrees: blue
    lab[3:6, :, 1] = -30  # 180 degrees: cyan
    scene = Subject("a", "0" * 64, lab[..., 0], lab[..., 1:])
    found = units.concepts(scene)
    assert found["blue, top"][:3].all()
    assert found["blue, top"].sum() == found["blue, anywhere"].sum() == 12
    assert found["cyan, middle"].sum() == 12
    assert found["grey, bottom"].sum() == 12
    assert not found["red, anywhere"].any()


def test_iou_by_hand() -> None:
    on = torch.tensor([[True, True, False, False]])
    masks = torch.tensor([[1.0, 0, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]])
    assert units._iou(on, masks).tolist() == [pytest.approx([1 / 2, 1 / 4, 0])]


def test_an_unknown_layer_is_named_with_the_known(meadows: list[Subject]) -> None:
    with pytest.raises(TintlabError, match=r"no layer up_blocks\.9: it has up_blocks\.0, up_blocks.1"):
        units.record_maps(generator(), "up_blocks.9", meadows[0].lightness)


def test_photographs_are_cropped_to_what_the_network_takes(meadows: list[Subject]) -> None:
    photo = units.crop(meadows[0], 32)
    assert photo.lightness.shape == (64, 64)
    assert (photo.ab == meadows[0].ab[:, 8:72]).all()
    with pytest.raises(TintlabError, match="narrower than 128 pixels"):
        units.crop(meadows[0], 128)
