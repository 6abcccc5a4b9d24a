"""Save and load a trained generator: its weights as safetensors, and the config from which it is built."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tintlab.gan import compact_weights
from tintlab.gan.pretrained_unet import PretrainedUNet
from tintlab.gan.unet import UNet, depth_for
from tintlab.system import console, paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_path, read_json, write_json
from tintlab.system.params import TrainParams

_IN_DVC_CACHE = re.compile(r"/files/md5/[0-9a-f]{2}/[0-9a-f]{30}(\.dir)?$")


def generator_config(params: TrainParams) -> dict[str, Any]:
    """The settings that build the generator again: the content of config.json."""
    return {
        "generator": params.generator,
        "size": params.image_size,
        "channels": params.channels,
        "dropout": params.dropout,
        "context_dropout": params.context_dropout,
        "z_dim": params.z_dim,
        "hints": params.hints,
        "working_size": params.working_size,
        "flip_average": params.flip_average,
        "saturation": params.saturation,
    }


def build_generator(config: dict[str, Any], pretrained: bool = True) -> UNet | PretrainedUNet:
    """Build the generator that a config describes, with fresh weights.

    Args:
        config: see `generator_config`.
        pretrained: load the ImageNet weights of the encoder, if any; not needed before `load_state_dict`.

    Raises:
        TintlabError: an unknown kind of generator, or a missing or unfitting value.
    """
    try:
        match config["generator"]:
            case "unet":
                return UNet(config["size"], config["channels"], config["dropout"])
            case "pretrained_unet":
                return PretrainedUNet(
                    config["channels"],
                    config["dropout"],
                    config["context_dropout"],
                    config["z_dim"],
                    config.get("hints", False),
                    pretrained,
                )
            case other:
                raise TintlabError(
                    f"unknown generator {str(other)[:60]!r}: this version knows pretrained_unet and unet"
                )
    except KeyError as error:
        raise TintlabError(
            f"the generator's config lacks {error}: restore it or train a new model"
        ) from error
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        reason = console.one_line(error)[:160]
        raise TintlabError(f"the generator's config has a wrong value ({reason}): restore it") from error


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
        # Not through safetensors' own writer: on a full disk it does not raise an OSError.
        temporary.write_bytes(save(tensors))


def load_generator(folder: Path, weights: str = paths.WEIGHTS) -> tuple[nn.Module, dict[str, Any]]:
    """Load a generator, in evaluation mode on the CPU, and its config.

    Raises:
        TintlabError: a file is missing, broken, or weights and config do not belong together.
    """
    for name in (paths.MODEL_CONFIG, weights):
        if not (folder / name).is_file():
            raise TintlabError(f"no model in {folder} ({name} is missing): train one with `tintlab repro`")
        _refuse_link_outside(folder / name)
    compact_weights.verify_checksums(folder, (paths.MODEL_CONFIG, weights))
    config = read_json(folder / paths.MODEL_CONFIG)
    try:
        _refuse_other_shapes(config, folder / weights)
        generator = build_generator(config, pretrained=False)
        generator.load_state_dict(compact_weights.complete(load_file(folder / weights), config))
    except SafetensorError as error:
        raise TintlabError(
            f"{folder / weights} is damaged ({error}): restore it or train a new model"
        ) from error
    except RuntimeError as error:  # its text lists every weight
        raise TintlabError(
            f"weights and {paths.MODEL_CONFIG} in {folder} do not belong together: restore both, or train again"
        ) from error
    return generator.eval(), config


class _Uninitialised(TorchFunctionMode):
    """Inside this context, weights stay uninitialised: on the meta device torch would import its compiler."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__module__", "") == "torch.nn.init":
            return kwargs["tensor"] if kwargs and "tensor" in kwargs else args[0]
        return func(*args, **(kwargs or {}))


def _refuse_other_shapes(config: dict[str, Any], weights: Path) -> None:
    """Compare a config with the header of the weights, before either takes memory."""
    with torch.device("meta"), _Uninitialised():
        expected = build_generator(config, pretrained=False).state_dict()
    with safe_open(weights, "pt") as file:
        found = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    needed = {
        name: list(tensor.shape)
        for name, tensor in expected.items()
        if name in found or not compact_weights.may_be_missing(name, config)
    }
    if found != needed:
        raise RuntimeError


def _refuse_link_outside(file: Path) -> None:
    """Refuse a link out of the folder, except into DVC's cache: a foreign model must not read our files."""
    target = file.resolve()
    if not target.is_relative_to(file.parent.resolve()) and not _IN_DVC_CACHE.search(target.as_posix()):
        raise TintlabError(f"{file} is a link out of its folder: copy the file that it means to its place")


def parent_weights(weights: Path, params: TrainParams) -> dict[str, Tensor]:
    """The weights from which a generator of another training is to start.

    Args:
        weights: safetensors, with the config beside them.
        params: of the training.

    Raises:
        TintlabError: the parent is built in another way, or can't be loaded.
    """
    parent, config = load_generator(weights.parent, weights.name)
    theirs, ours = _architecture(config), _architecture(generator_config(params))
    for added in ("z_dim", "hints"):
        # Layers that the parent lacks start as they do in a training without a parent.
        theirs[added] = theirs[added] or ours[added]
    if theirs != ours:
        other = ", ".join(
            f"{name} {theirs[name]}, not {ours[name]}" for name in ours if theirs[name] != ours[name]
        )
        raise TintlabError(
            f"train.init_from is a model of another architecture ({other}): "
            "set these under train to the parent's, or train from scratch"
        )
    return parent.state_dict()


def _architecture(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide the shapes of a generator's weights."""
    shape = {
        "generator": config["generator"],
        "channels": config["channels"],
        "z_dim": config.get("z_dim", 0),
        "hints": config.get("hints", False),
    }
    # The pretrained U-Net takes any size; pix2pix's U-Net has a layer for each halving of the size.
    return shape | {"depth": depth_for(config["size"]) if config["generator"] == "unet" else 0}
