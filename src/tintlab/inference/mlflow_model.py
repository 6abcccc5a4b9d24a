"""Write a trained model as a folder that MLflow can load on other machines, without pickles."""

import ast
import importlib.metadata
import io
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

import tintlab
from tintlab.inference.colorizer import Colorizer
from tintlab.system import paths
from tintlab.system.files import file_sha256, read_json

if TYPE_CHECKING:
    import pandas as pd

PLACE = "artifacts/model"
"""Where weights and config lie in the folder."""

SERVING_CODE = 2
"""The generation of `pyfunc.py` in a registered version. Raised when no older one should be served any longer.

1: took text that a client sent as the path of a file, and opened it. 2: takes bytes alone.
"""

MODEL_FILES = (paths.WEIGHTS, paths.MODEL_CONFIG)

COMPANIONS = (paths.TRAINING_SUMMARY, paths.DIRECTIONS)
"""Files that go with a model where it has them: what it was trained on, and its directions in the noise."""

MEANING = {
    "input": "column image: the bytes of a photograph's own file; in JSON as base64",
    "output": "column image: the bytes of a PNG, 8-bit sRGB, of the same width and height, in the same order",
    "size": "the network's input is about this squared, in pixels: 32 to 1024",
    "saturation": "factor on the colours: 0 is grey, 1 is as learnt",
    "variants": "colourings of each photograph, one after another: 0 is one, without noise; at most 64",
    "seed": "of the variants' noise",
}
"""The meaning of the signature's names, kept in the model's MLmodel file."""

_PACKAGES = (
    "mlflow",
    "numpy",
    "pandas",
    "pillow",
    "psutil",
    "pydantic",
    "ruamel.yaml",
    "safetensors",
    "scipy",
    "torch",
    "tqdm",
)
_SOURCE = Path(tintlab.__file__).parent
_MODEL_CODE = _SOURCE / "inference" / "pyfunc.py"
_EXAMPLE_SIDE = 16


def file_hashes(model: Path) -> dict[str, str]:
    """The sha256 of each file of a model, by its name: they identify the model.

    Raises:
        FileNotFoundError: one is missing.
    """
    return {name: file_sha256(model / name) for name in MODEL_FILES}


def copy_model(source: Path, target: Path) -> None:
    """Copy a model's files into a folder, and those of `COMPANIONS` that are there."""
    for name in MODEL_FILES:
        shutil.copyfile(source / name, target / name)
    for name in COMPANIONS:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


def save_pyfunc(model: Path, target: Path) -> None:
    """Write a model as an MLflow pyfunc: code as source, weights as safetensors, and their sha256 to check.

    Raises:
        TintlabError: no model in `model`, or a damaged one.
    """
    from mlflow.models import ModelSignature
    from mlflow.pyfunc import save_model
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    settings = Colorizer.load(model).settings
    image = Schema([ColSpec("binary", "image")])
    params = ParamSchema(
        [
            ParamSpec("size", "long", settings.working_size),
            ParamSpec("saturation", "double", settings.saturation),
            ParamSpec("seed", "long", 0),
            ParamSpec("variants", "long", 0),
        ]
    )
    with tempfile.TemporaryDirectory() as temporary:
        code, files = Path(temporary) / "tintlab", Path(temporary) / "model"
        _copy_code(code)
        files.mkdir()
        copy_model(model, files)
        save_model(
            target,
            python_model=str(_MODEL_CODE),
            artifacts={"model": str(files)},
            code_paths=[str(code)],
            model_config={"sha256": file_hashes(files)},
            signature=ModelSignature(image, image, params),
            input_example=_example(),
            metadata={"signature": MEANING},
            pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in _packages(model)],
        )


def _packages(model: Path) -> list[str]:
    """The packages that a model needs: for a compact one also that of its encoder."""
    from tintlab.gan.compact_weights import ENCODER
    from tintlab.gan.efficientnet import distribution

    encoder = read_json(model / paths.MODEL_CONFIG).get(ENCODER)
    return [*_PACKAGES, *([distribution(encoder)] if encoder else [])]


def _copy_code(target: Path) -> None:
    """Copy the model's own code and the modules of the package that it imports, directly or not."""
    wanted, copied = [_MODEL_CODE], set[Path]()
    while wanted:
        module = wanted.pop()
        if module not in copied:
            copied.add(module)
            wanted += _imports(module)
    for module in copied:
        place = target / module.relative_to(_SOURCE)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(module, place)


def _imports(module: Path) -> list[Path]:
    """The modules of the package that a module imports when it runs, and the packages that they lie in."""
    names: set[str] = {"tintlab"}
    for node in _nodes_that_run(ast.parse(module.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    ours = [name.split(".")[1:] for name in names if name.split(".")[0] == _SOURCE.name]
    packages = [
        _SOURCE.joinpath(*parts[:depth], "__init__.py") for parts in ours for depth in range(len(parts) + 1)
    ]
    modules = [_SOURCE.joinpath(*parts[:-1], f"{parts[-1]}.py") for parts in ours if parts]
    return [path for path in (*packages, *modules) if path.is_file()]


def _nodes_that_run(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a syntax tree without the bodies of `if TYPE_CHECKING:`, which only type checkers read."""
    yield node
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    for child in ast.iter_child_nodes(node):
        yield from _nodes_that_run(child)


def _example() -> "pd.DataFrame":
    """A table with one small grey picture."""
    import pandas as pd

    file = io.BytesIO()
    Image.linear_gradient("L").resize((_EXAMPLE_SIDE, _EXAMPLE_SIDE)).save(file, "PNG")
    return pd.DataFrame({"image": [file.getvalue()]})
