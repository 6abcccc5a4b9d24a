"""Store a generator without the weights that its encoder's package already holds, to make its files small.

The config of such a model names the encoder and the sha256 of the package's file. The decoder's kernels are
stored as float16; tensors of one dimension (batch statistics, biases) stay exact. A list of sha256 in the
format of `sha256sum` lies beside the files.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tintlab.gan.efficientnet import load_efficientnet, weights_file
from tintlab.system.errors import TintlabError
from tintlab.system.files import file_sha256, write_text

ENCODER, ENCODER_SHA256 = "encoder", "encoder_sha256"
"""Keys of config.json: the name of the encoder, and the sha256 of its package's weights."""

CHECKSUMS = "SHA256SUMS"
"""Name of the list, as `sha256sum -c` reads it."""

_PREFIX = "encoder."
_LINE = re.compile(r"([0-9a-f]{64}) [ *](\S+)")


def encoder_entries(name: str) -> dict[str, str]:
    """The entries of config.json that name an encoder."""
    return {ENCODER: name, ENCODER_SHA256: file_sha256(weights_file(name))}


def compact(weights: Mapping[str, Tensor], encoder: str) -> dict[str, Tensor]:
    """Leave out the weights that the encoder's package holds bit for bit; store the other kernels as float16.

    Args:
        weights: of a generator.
        encoder: its name, see `efficientnet.VARIANTS`.

    Raises:
        TintlabError: a weight is too large for float16, or the package is not installed.
    """
    known = _encoder_weights(encoder)
    small = {}
    for name, tensor in weights.items():
        if name in known and torch.equal(tensor, known[name]):
            continue
        small[name] = tensor.half() if tensor.is_floating_point() and tensor.ndim > 1 else tensor
        if not torch.isfinite(small[name]).all():
            raise TintlabError(f"{name} does not fit into float16: train with a higher weight_decay")
    return small


def complete(weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """All weights of a generator as float32: those of a file, and of the encoder that its config names.

    Raises:
        TintlabError: the encoder's package is not installed, or holds other weights.
    """
    full = {
        name: tensor.float() if tensor.dtype == torch.float16 else tensor for name, tensor in weights.items()
    }
    encoder = config.get(ENCODER)
    if encoder is None:
        return full
    path = weights_file(str(encoder))
    if file_sha256(path) != config.get(ENCODER_SHA256):
        raise TintlabError(
            f"{path} is not the encoder that this model was trained with: reinstall tintlab with its dependencies"
        )
    return _encoder_weights(str(encoder)) | full


def may_be_missing(name: str, config: Mapping[str, Any]) -> bool:
    """Whether the encoder's package supplies a weight that the file lacks."""
    return ENCODER in config and name.startswith(_PREFIX)


def write_checksums(folder: Path, names: Iterable[str]) -> None:
    """List the sha256 of files of a folder."""
    lines = [f"{file_sha256(folder / name)}  {name}\n" for name in sorted(names)]
    write_text(folder / CHECKSUMS, "".join(lines))


def verify_checksums(folder: Path, names: Iterable[str]) -> None:
    """Compare files with the list beside them; a folder without a list passes.

    Raises:
        TintlabError: a file is not the one that is listed, or the list itself is damaged.
    """
    path = folder / CHECKSUMS
    if not path.exists():
        return
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        lines = [""]
    found = [_LINE.fullmatch(line) for line in lines]
    listed = {match[2]: match[1] for match in found if match}
    for name in names:
        if listed.get(name) != file_sha256(folder / name):
            raise TintlabError(
                f"{folder / name} is damaged: its sha256 is not the one in {CHECKSUMS}; reinstall tintlab, or "
                "restore the file"
            )


def _encoder_weights(name: str) -> dict[str, Tensor]:
    return {_PREFIX + key: tensor for key, tensor in load_efficientnet(name).state_dict().items()}
