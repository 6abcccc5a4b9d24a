"""Export a trained model as ONNX, with a JSON file that describes its pre- and postprocessing."""

import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from tintlab.imaging.color import AB_SCALE
from tintlab.inference.colorizer import Settings
from tintlab.inference.exported import ABOUT, FORMAT, NETWORK
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_folder, file_sha256, read_json, write_json

OPSET = 17
"""Of ONNX: what all runtimes since 2022 can read."""

_MEANING = {
    "L": "L* / 50 - 1 of the photograph at working size, sides padded to a multiple",
    "z": "noise that chooses among colourings; zeros are the one that training held to the truth",
    "hints": "a* / 110 and b* / 110 of colours at places, and 1 where there is one; zeros for none",
    "palette": "shares of colours that the photograph shall take from another; zeros for none",
}


def export(model: Path, target: Path) -> None:
    """Write a model's network and its description into a new or an empty folder.

    Args:
        model: a folder of weights and config.
        target: appears whole or not at all.

    Raises:
        TintlabError: no model there, a damaged one, or the target holds files.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise TintlabError(f"{target} is not empty: name a new folder")
    with atomic_folder(target) as temporary:
        write_export(model, temporary)


def write_export(model: Path, folder: Path) -> None:
    """As `export`, into an existing folder.

    Raises:
        TintlabError: no model there, or a damaged one.
    """
    import torch

    from tintlab.gan.model_files import load_generator
    from tintlab.inference.halves import cut, dynamic_shape, join

    generator, config = load_generator(model)
    network, examples = join(cut(generator))
    axes = {0: "n", 2: "height", 3: "width"}
    varying = {
        name: {axis: axes[axis] for axis, size in enumerate(dynamic_shape(one)) if size < 0}
        for name, one in examples.items()
    }
    with warnings.catch_warnings(), torch.no_grad():
        # Tracing follows one path through the checks of shapes, and warns about that.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            tuple(examples.values()),
            str(folder / NETWORK),
            input_names=list(examples),
            output_names=["ab"],
            dynamic_axes=varying | {"ab": axes},
            opset_version=OPSET,
            dynamo=False,  # the other one needs another package
        )
    settings = Settings.of_config(read_json(model / paths.MODEL_CONFIG), model)
    multiple = cast(int, generator.multiple)
    inputs = {name: _describe(name, dynamic_shape(one)) for name, one in examples.items()}
    write_json(folder / ABOUT, _about(config, settings, multiple, inputs, model, folder))


def _describe(name: str, shape: list[int]) -> dict[str, Any]:
    axes = ("n", "", "height", "width")
    return {
        "shape": [axes[axis] if size < 0 else size for axis, size in enumerate(shape)],
        "meaning": _MEANING[name],
    }


def _about(
    config: dict[str, Any],
    settings: Settings,
    multiple: int,
    inputs: dict[str, Any],
    model: Path,
    folder: Path,
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "network": NETWORK,
        "network_sha256": file_sha256(folder / NETWORK),
        "opset": OPSET,
        "generator": str(config.get("generator", "")),
        "weights_sha256": file_sha256(model / paths.WEIGHTS),
        "tintlab": version("tintlab"),
        "inputs": inputs,
        "output": {"name": "ab", "shape": ["n", 2, "height", "width"], "meaning": "a* and b*, over ab_scale"},
        "preprocessing": {
            "lightness": "CIE L* of sRGB under D65, from 0 to 100",
            "working_size": settings.working_size,
            "resampling": "Lanczos, to about working_size² pixels in proportion",
            "multiple": multiple,
            "padding": "reflect, half on each side",
            "scale": "L* / 50 - 1",
        },
        "postprocessing": {
            "flip_average": settings.flip_average,
            "ab_scale": AB_SCALE,
            "saturation": settings.saturation,
            "full_size": "ab is enlarged along the photograph's edges and joined with its own L*",
        },
    }
