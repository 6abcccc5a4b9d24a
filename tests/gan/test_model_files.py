"""Parents of other trainings, as their files tell."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tintlab.gan.model_files import build_generator, generator_config, parent_weights, save_generator
from tintlab.system.errors import TintlabError
from tintlab.system.params import TrainParams, load_params
from tintlab.system.paths import LAST_WEIGHTS, WEIGHTS


def small(**changes: Any) -> TrainParams:
    return load_params().train.model_copy(
        update={"generator": "unet", "channels": 4, "image_size": 32} | changes
    )


def saved(folder: Path, params: TrainParams, weights: str = WEIGHTS) -> Path:
    torch.manual_seed(5)
    config = generator_config(params)
    save_generator(folder, build_generator(config, pretrained=False), config, weights)
    return folder / weights


@pytest.mark.parametrize("name", [WEIGHTS, LAST_WEIGHTS, "mine.safetensors"])
def test_a_parents_weights_are_those_of_the_file(tmp_path: Path, name: str) -> None:
    found = parent_weights(saved(tmp_path, small(), name), small(dropout=0.3, working_size=64))
    torch.manual_seed(5)
    expected = build_generator(generator_config(small())).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in found)


def test_a_convolutional_parent_takes_another_size(tmp_path: Path) -> None:
    params = small(generator="pretrained_unet")
    assert parent_weights(saved(tmp_path, params), params.model_copy(update={"image_size": 256}))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"channels": 8}, "channels 4, not 8"),
        ({"image_size": 64}, "depth 5, not 6"),
        ({"generator": "pretrained_unet"}, "generator unet, not pretrained_unet, depth"),
    ],
)
def test_a_parent_of_another_architecture_is_one_line(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(TintlabError, match=r"^train\.init_from .*another architecture") as raised:
        parent_weights(saved(tmp_path, small()), small(**changes))
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_parent_without_its_config_or_damaged_is_one_line(tmp_path: Path) -> None:
    weights = saved(tmp_path, small())
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(TintlabError, match="damaged"):
        parent_weights(weights, small())
    (tmp_path / "config.json").unlink()
    with pytest.raises(TintlabError, match=r"config\.json is missing"):
        parent_weights(weights, small())
