"""The model as MLflow loads it: it takes the bytes of a photograph and returns the bytes of a coloured PNG.

MLflow copies this file into a registered model and runs it there, see `mlflow_model`; nothing of a model
is pickled. The package's modules lie beside it, as they were when the model was registered.
"""

import hashlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from PIL import Image
from pydantic import ValidationError

import tintlab
from tintlab.imaging.photos import PhotoError, read_photo
from tintlab.inference import noise_vectors
from tintlab.inference.colorizer import Colorizer, Settings
from tintlab.inference.guided import coloured
from tintlab.system.errors import TintlabError
from tintlab.system.files import file_sha256

IMAGE = "image"
MAX_MEGAPIXELS = 200.0
MAX_SIZE = 1024
"""A request can't ask for more: memory grows with its square."""
MAX_VARIANTS = 64
"""A request can't ask for more of an image."""

_WANTED = "send the photograph's own bytes, in JSON as base64 or in Parquet as binary, not its path or URL"


class ColorizerModel(PythonModel):
    """Colours photographs; see `predict`."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load weights and config, if they have the sha256 that the model was registered with.

        Raises:
            TintlabError: they have not, or they are damaged.
        """
        folder = Path(context.artifacts["model"])
        for name, expected in context.model_config["sha256"].items():
            found = file_sha256(folder / name)
            if found != expected:
                raise TintlabError(
                    f"{folder / name} is not the file that was registered: its sha256 is {found[:16]}…, "
                    f"not {expected[:16]}…: restore it, or use another version"
                )
        self._colorizer = Colorizer.load(folder)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Colour photographs at their full size.

        Args:
            context: not used.
            model_input: a table with the column `image`: the bytes of files in any format that `photos` reads.
            params: `size` is the working size, `saturation` a factor on the colours; the defaults are the
                model's own. `variants` above 0 gives each image as many colourings, by noise that `seed` and
                the image's sha256 decide.

        Returns:
            A table with the column `image`: the bytes of PNG files, in the same order; an image's variants
            one after another.

        Raises:
            MlflowException: with status 400 over HTTP: an image is not given as bytes or can't be used, or a
                parameter is out of range.
        """
        images = _contents(model_input)
        colorizer = self._with(params or {})
        seed, variants = _chance(params or {})
        pngs = [
            png
            for row, image in enumerate(images)
            for png in _coloured(colorizer, image, row, seed, variants)
        ]
        return pd.DataFrame({IMAGE: pngs})

    def _with(self, params: dict[str, Any]) -> Colorizer:
        settings = self._colorizer.settings.model_dump()
        settings |= {"working_size": params.get("size", settings["working_size"])}
        if settings["working_size"] > MAX_SIZE:
            raise _refused(f"size: at most {MAX_SIZE}")
        settings |= {"saturation": params.get("saturation", settings["saturation"])}
        try:
            wanted = Settings.model_validate(settings)
        except ValidationError as error:
            fault = error.errors()[0]
            name = "size" if fault["loc"][0] == "working_size" else fault["loc"][0]
            raise _refused(f"{name}: {fault['msg']}") from None
        return self._colorizer.with_settings(wanted)


def _contents(model_input: object) -> list[bytes]:
    """The files that a client sent. Only bytes are contents: any other value could be taken as a path or URL.

    MLflow's schema does not guarantee this: text passes as binary in CSV, in Parquet and in a direct call.

    Raises:
        MlflowException: no table, no column of images, or a value that is not bytes.
    """
    if not isinstance(model_input, pd.DataFrame) or IMAGE not in model_input.columns:
        raise _refused(f"send a table with the column {IMAGE}: {_WANTED}")
    images = list(model_input[IMAGE])
    for row, image in enumerate(images):
        if not isinstance(image, bytes):
            kind = "text" if isinstance(image, str) else type(image).__name__
            raise _refused(f"image {row} is {kind}, not bytes: {_WANTED}")
    return images


def _chance(params: dict[str, Any]) -> tuple[int, int]:
    seed, variants = int(params.get("seed", 0)), int(params.get("variants", 0))
    if not 0 <= variants <= MAX_VARIANTS:
        raise _refused(f"variants: from 0 to {MAX_VARIANTS}")
    return seed, variants


def _coloured(colorizer: Colorizer, image: bytes, row: int, seed: int, variants: int) -> Iterator[bytes]:
    try:
        photo = read_photo(image, MAX_MEGAPIXELS)
    except PhotoError as error:
        raise _refused(f"image {row} can't be used: {error}") from None
    z = None
    if variants:
        try:
            z = noise_vectors.draw(seed, hashlib.sha256(image).hexdigest(), variants, colorizer.z_dim)
        except TintlabError as error:
            raise _refused(str(error)) from None
    lightness = photo.lightness()
    for colours in colorizer.colourings(lightness, z=z):
        file = io.BytesIO()
        Image.fromarray(coloured(lightness, colours)).save(file, "PNG")
        yield file.getvalue()


def _refused(reason: str) -> MlflowException:
    return MlflowException(reason, error_code=INVALID_PARAMETER_VALUE)


def _leave_the_path_to_the_package_in_use() -> None:
    """Take the model's own code out of the search path where this process has loaded the package from elsewhere.

    MLflow puts that code first in the search path and leaves it there. It is only a part of the package, and
    processes that are spawned later would find that part instead of the whole.
    """
    code = Path(__file__).resolve().with_name("code")
    if Path(tintlab.__file__).resolve().parent.parent != code:
        sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != code]


_leave_the_path_to_the_package_in_use()
mlflow.models.set_model(ColorizerModel())
