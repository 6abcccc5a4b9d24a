"""Pack a trained model as `base`, which ships with the package: `python -m tintlab.inference.pack_base FOLDER`.

The same trained folder gives the same bytes. The card, README.md, is written by hand and stays as it is.
"""

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save

from tintlab.gan import compact_weights
from tintlab.gan.model_files import load_generator
from tintlab.inference import base_model
from tintlab.inference.colorizer import Colorizer
from tintlab.system import entry_point, paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import file_sha256, read_json, write_bytes, write_json

MAX_MEGABYTES = 16.0
"""The folder may not be larger, so that the wheel stays small."""

ENCODER = "efficientnet_lite0"

_COPIED = (paths.TRAINING_SUMMARY,)
_SIDE = 256  # pixels, of the picture that both models colour


def pack(source: Path, target: Path) -> dict[str, float]:
    """Write a trained model in its small form.

    Args:
        source: folder of a `pretrained_unet`; directions lie in it or, for the pipeline's model, beside it.
        target: folder to write into.

    Returns:
        `megabytes` of the folder, and `difference`: the largest change of a predicted ab, in CIELAB units.

    Raises:
        TintlabError: no model there, one of another kind, or the result is larger than `MAX_MEGABYTES`.
    """
    generator, config = load_generator(source)
    if config["generator"] != "pretrained_unet":
        raise TintlabError(f"{source} is a {config['generator']}: only a pretrained_unet can be packed")
    target.mkdir(parents=True, exist_ok=True)
    weights = compact_weights.compact(generator.state_dict(), ENCODER)
    write_bytes(target / paths.WEIGHTS, save({name: tensor.contiguous() for name, tensor in weights.items()}))
    write_json(target / paths.MODEL_CONFIG, config | compact_weights.encoder_entries(ENCODER))
    listed = [paths.WEIGHTS, paths.MODEL_CONFIG]
    for name in _COPIED:
        (target / name).unlink(missing_ok=True)
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)
            listed.append(name)
    listed += _pack_directions(source, target)
    compact_weights.write_checksums(target, listed)
    megabytes = sum(file.stat().st_size for file in target.iterdir() if file.is_file()) / 1e6
    if megabytes > MAX_MEGABYTES:
        raise TintlabError(
            f"{target} takes {megabytes:.1f} MB, more than {MAX_MEGABYTES:g}: train a smaller one"
        )
    return {"megabytes": megabytes, "difference": _difference(source, target)}


def _pack_directions(source: Path, target: Path) -> list[str]:
    """Copy the directions and bind them to the packed weights; the names of the files that were written."""
    (target / paths.DIRECTIONS).unlink(missing_ok=True)
    found = [place / paths.DIRECTIONS for place in (source, source.parent)]
    for path in found:
        if path.exists():
            directions: dict[str, Any] = read_json(path)
            packed = file_sha256(target / paths.WEIGHTS)
            if directions.get("weights_sha256") not in (
                file_sha256(source / paths.WEIGHTS),
                packed,
            ):
                raise TintlabError(
                    f"{path} belongs to another model: `tintlab explore directions` finds this one's"
                )
            write_json(target / paths.DIRECTIONS, directions | {"weights_sha256": packed})
            return [paths.DIRECTIONS]
    return []


def _difference(source: Path, target: Path) -> float:
    """The largest change of ab on a picture of random patches."""
    patches = np.random.default_rng(0).uniform(0, 100, (8, 8)).astype(np.float32)
    lightness = np.kron(patches, np.ones((_SIDE // 8, _SIDE // 8), np.float32))
    before, after = (Colorizer.load(folder).predict_ab(lightness) for folder in (source, target))
    return float(np.abs(before - after).max())


def main() -> None:
    """Pack the model that the command line names."""
    parser = argparse.ArgumentParser(
        description="Pack a trained model as the one that ships with the package."
    )
    parser.add_argument("source", type=Path, help="folder of a trained model")
    parser.add_argument("--target", type=Path, default=base_model.FOLDER, help="folder to write into")
    arguments = parser.parse_args()
    done = pack(arguments.source, arguments.target)
    print(
        f"{arguments.target}: {done['megabytes']:.1f} MB; "
        f"colours differ from the trained model's by at most {done['difference']:.2f} units of ab"
    )


if __name__ == "__main__":
    entry_point.run(main)
