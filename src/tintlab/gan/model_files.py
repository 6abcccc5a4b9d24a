"""A trained generator on disk: weights as safetensors, and the config that says how to build it."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from tintlab import paths
from tintlab.errors import TintlabError
from tintlab.gan.pretrained_unet import PretrainedUNet
from tintlab.gan.unet import UNet
from tintlab.params import TrainParams
from tintlab.storage import atomic_path, read_json, write_json


def generator_config(params: TrainParams) -> dict[str, Any]:
    """What must be known to build the generator again: the content of config.json."""
    return {
        "generator": params.generator,
        "size": params.size,
        "channels": params.channels,
        "dropout": params.dropout,
        "context_dropout": params.context_dropout,
        "z_dim": 0,
        "working_size": params.working_size,
        "flip_average": params.flip_average,
        "saturation": params.saturation,
    }


def build_generator(config: dict[str, Any], pretrained: bool = True) -> nn.Module:
    """Build the generator that a config describes, with fresh weights.

    Args:
        config: see `generator_config`.
        pretrained: load the encoder's ImageNet weights, where there is one; needless before `load_state_dict`.

    Raises:
        TintlabError: an unknown kind of generator, or a missing or unfitting value.
    """
    try:
        match config["generator"]:
            case "unet":
                return UNet(config["size"], config["channels"], config["dropout"])
            case "pretrained_unet":
                return PretrainedUNet(
                    config["channels"], config["dropout"], config["context_dropout"], pretrained=pretrained
                )
            case other:
                raise TintlabError(
                    f"unknown generator {other!r}: this version knows pretrained_unet and unet"
                )
    except KeyError as error:
        raise TintlabError(
            f"the generator's config lacks {error}: restore it or train a new model"
        ) from error
    except (TypeError, ValueError, RuntimeError) as error:
        raise TintlabError(f"the generator's config has a wrong value ({error}): restore it") from error


def save_generator(
    folder: Path, generator: nn.Module, config: dict[str, Any], weights: str = paths.WEIGHTS
) -> None:
    """Write weights and config into `folder`, each file atomically."""
    save_weights(folder / weights, generator)
    write_json(folder / paths.MODEL_CONFIG, config)


def save_weights(path: Path, network: nn.Module) -> None:
    """Write a network's weights as safetensors, atomically; the bytes depend on the weights alone."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with atomic_path(path) as temporary:
        # Not through safetensors' own writer: on a full disk its error is no OSError.
        temporary.write_bytes(save(tensors))


def load_generator(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Load a generator, in evaluation mode on the CPU, and its config.

    Raises:
        TintlabError: a file is missing, broken, or weights and config do not belong together.
    """
    for name in (paths.MODEL_CONFIG, paths.WEIGHTS):
        if not (folder / name).is_file():
            raise TintlabError(f"no model in {folder} ({name} is missing): train one with `make run`")
    config = read_json(folder / paths.MODEL_CONFIG)
    generator = build_generator(config, pretrained=False)
    try:
        generator.load_state_dict(load_file(folder / paths.WEIGHTS))
    except SafetensorError as error:
        raise TintlabError(
            f"{folder / paths.WEIGHTS} is damaged ({error}): restore it or train a new model"
        ) from error
    except RuntimeError as error:  # its text lists every weight
        raise TintlabError(
            f"weights and {paths.MODEL_CONFIG} in {folder} do not belong together: restore both, or train anew"
        ) from error
    return generator.eval(), config
