"""Run an exported model by ONNX Runtime; report each fault of its files or inputs in one line."""

import importlib.util
from pathlib import Path
from typing import Any, cast

import numpy as np

from tintlab.imaging.color import Float
from tintlab.system.errors import TintlabError
from tintlab.system.files import file_sha256, read_json

ABOUT, NETWORK = "model.json", "model.onnx"
FORMAT = 1
"""Of the JSON; raised when a reader of before would go wrong."""


class ExportedModel:
    """The network of an exported folder.

    Args:
        folder: of `tintlab export`.

    Raises:
        TintlabError: no such folder, a damaged file, another format, or ONNX Runtime is not installed.
    """

    def __init__(self, folder: Path) -> None:
        if importlib.util.find_spec("onnxruntime") is None:
            raise TintlabError("ONNX Runtime is not installed: pip install 'tintlab[export]'")
        import onnxruntime

        self.about = _read_about(folder)
        network = folder / NETWORK
        if not network.is_file():
            raise TintlabError(f"{network} is missing: export the model again")
        if file_sha256(network) != self.about["network_sha256"]:
            raise TintlabError(
                f"{network} is damaged: it is not the file that {ABOUT} names; export it again"
            )
        self._session: Any = onnxruntime.InferenceSession(str(network), providers=["CPUExecutionProvider"])

    def run(self, **inputs: Float) -> Float:
        """ab / 110 `(n, 2, h, w)` of the inputs that `model.json` names, float32.

        Raises:
            TintlabError: one is missing, unknown, or of a wrong shape.
        """
        wanted: dict[str, Any] = self.about["inputs"]
        for name in wanted.keys() - inputs.keys():
            raise TintlabError(f"input {name} is missing: give {', '.join(wanted)}; zeros ask for nothing")
        for name in inputs.keys() - wanted.keys():
            raise TintlabError(f"input {name} is unknown: this model takes {', '.join(wanted)}")
        sizes: dict[str, int] = {}
        for name, each in wanted.items():
            _check_shape(name, inputs[name].shape, each["shape"], sizes)
        multiple = int(self.about["preprocessing"]["multiple"])
        if sizes["height"] % multiple or sizes["width"] % multiple:
            raise TintlabError(f"height and width must be multiples of {multiple}: pad the photograph")
        arrays = {name: np.ascontiguousarray(value, np.float32) for name, value in inputs.items()}
        return cast(Float, self._session.run(None, arrays)[0])

    def try_out(self) -> None:
        """Run it once on inputs of zeros.

        Raises:
            TintlabError: it can't be run.
        """
        side = int(self.about["preprocessing"]["multiple"])
        sizes = {"n": 1, "height": side, "width": side}
        shapes = {
            name: [sizes.get(size, size) for size in each["shape"]]
            for name, each in self.about["inputs"].items()
        }
        self.run(**{name: np.zeros(shape, np.float32) for name, shape in shapes.items()})


def _read_about(folder: Path) -> dict[str, Any]:
    path = folder / ABOUT
    if not path.is_file():
        raise TintlabError(f"{folder} holds no exported model: {ABOUT} is missing")
    about = read_json(path)
    try:
        if about["format"] != FORMAT:
            raise TintlabError(f"{path}: format {about['format']} is not {FORMAT}: export the model again")
        _ = about["network_sha256"], dict(about["inputs"]), int(about["preprocessing"]["multiple"])
    except (KeyError, TypeError, ValueError):
        raise TintlabError(f"{path} is damaged: export the model again") from None
    return cast(dict[str, Any], about)


def _check_shape(name: str, shape: tuple[int, ...], wanted: list[int | str], sizes: dict[str, int]) -> None:
    """Compare a shape; sizes of the same name must be the same in all inputs."""
    fits = len(shape) == len(wanted)
    for size, asked in zip(shape, wanted, strict=False):
        fits &= size == (asked if isinstance(asked, int) else sizes.setdefault(asked, size)) and size > 0
    if not fits:
        text = ", ".join(str(sizes.get(each, each) if isinstance(each, str) else each) for each in wanted)
        raise TintlabError(f"input {name} has the shape {shape}: it must be ({text})")
