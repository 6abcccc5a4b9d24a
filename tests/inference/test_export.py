"""An exported model says what torch says, and its faults are one line."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import deltaE_ciede2000

from tintlab.imaging import color
from tintlab.imaging.photos import read_photo
from tintlab.inference import base_model
from tintlab.inference.colorizer import Colorizer
from tintlab.inference.export import export
from tintlab.inference.exported import ExportedModel
from tintlab.inference.working_size import reduced
from tintlab.system.errors import TintlabError

ROOT = Path(__file__).parents[2]
SIZES = ((64, 96), (96, 64), (192, 256), (32, 32), (256, 160))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "onnx"
    export(base_model.FOLDER, folder)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    with zipfile.ZipFile(ROOT / "data/starter-photos.zip") as archive:
        names = [name for name in archive.namelist() if name.startswith("photos/") and name[-1] != "/"]
        return [Path(archive.extract(name, folder)) for name in sorted(names)[::15][:20]]


def inputs_for(lightness: color.Float, seed: int) -> dict[str, color.Float]:
    """One photograph, with noise, a hint and a palette."""
    random = np.random.default_rng(seed)
    height, width = lightness.shape
    hints = np.zeros((1, 3, height, width), np.float32)
    hints[:, :, 8:12, 8:14] = np.array([0.3, -0.2, 1])[:, None, None]
    z, palette = random.normal(size=(1, 16)), random.dirichlet(np.ones(122))[None]
    return {
        "L": lightness[None, None] / np.float32(50) - 1,
        "z": z.astype(np.float32),
        "hints": hints,
        "palette": palette.astype(np.float32),
    }


@pytest.mark.slow
def test_outputs_are_torchs_on_photographs_of_five_sizes(exported: Path, photos: list[Path]) -> None:
    model, reference = ExportedModel(exported), Colorizer.load(base_model.FOLDER).engine
    assert len(photos) == 20
    for seed, path in enumerate(photos):
        lightness = read_photo(path, 10).lightness()
        for size in SIZES:
            inputs = inputs_for(reduced(lightness, size), seed)
            with torch.no_grad():
                rest = {name: value for name, value in inputs.items() if name != "L"}
                expected = reference.decode(reference.encode(inputs["L"]), rest)
            assert np.abs(model.run(**inputs) - expected).max() * color.AB_SCALE < 1e-3


def test_the_example_of_the_documentation_colours_as_tintlab_does(
    exported: Path, photos: list[Path], tmp_path: Path
) -> None:
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/export.md").read_text(), re.DOTALL)
    (tmp_path / "example.py").write_text(code)
    command = [sys.executable, "example.py", exported, photos[2], "coloured.png"]
    subprocess.run(command, cwd=tmp_path, check=True)
    found = np.asarray(Image.open(tmp_path / "coloured.png"))
    ours = Colorizer.load(base_model.FOLDER).colorize(read_photo(photos[2], 10))
    assert found.shape == ours.shape
    # It enlarges colours without regard to edges.
    assert deltaE_ciede2000(color.rgb_to_lab(found), color.rgb_to_lab(ours)).mean() < 1.5


def test_the_description_names_all_inputs_and_steps(exported: Path) -> None:
    about = json.loads((exported / "model.json").read_text())
    assert about["opset"] == 17
    assert list(about["inputs"]) == ["L", "z", "hints", "palette"]
    assert about["inputs"]["L"]["shape"] == ["n", 1, "height", "width"]
    assert about["preprocessing"]["working_size"] == 224
    assert about["preprocessing"]["multiple"] == 32
    assert about["postprocessing"]["saturation"] == Colorizer.load(base_model.FOLDER).settings.saturation
    ExportedModel(exported).try_out()


def cut_network(folder: Path) -> None:
    path = folder / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1000])


def forget_inputs(folder: Path) -> None:
    path = folder / "model.json"
    about = json.loads(path.read_text())
    del about["inputs"]
    path.write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (cut_network, "model.onnx is damaged"),
        (forget_inputs, "model.json is damaged"),
        (lambda folder: (folder / "model.json").write_text("{"), "model.json"),
        (lambda folder: (folder / "model.json").unlink(), "holds no exported model"),
        (lambda folder: (folder / "model.onnx").unlink(), "model.onnx is missing"),
    ],
)
def test_a_damaged_file_is_one_line(
    exported: Path, tmp_path: Path, damage: Callable[[Path], None], line: str
) -> None:
    folder = tmp_path / "onnx"
    shutil.copytree(exported, folder)
    damage(folder)
    with pytest.raises(TintlabError, match=line) as raised:
        ExportedModel(folder)
    assert "\n" not in str(raised.value)


def test_wrong_inputs_are_one_line(exported: Path) -> None:
    model = ExportedModel(exported)
    right = inputs_for(np.full((64, 96), 50, np.float32), 0)
    with pytest.raises(TintlabError, match="input hints is missing"):
        model.run(**{name: value for name, value in right.items() if name != "hints"})
    with pytest.raises(TintlabError, match="input y is unknown"):
        model.run(**right, y=right["z"])
    with pytest.raises(TintlabError, match=r"input z has the shape \(1, 15\): it must be \(1, 16\)"):
        model.run(**right | {"z": right["z"][:, :15]})
    with pytest.raises(TintlabError, match=r"input hints .* must be \(1, 3, 64, 96\)"):
        model.run(**right | {"hints": right["hints"][..., :64]})
    with pytest.raises(TintlabError, match="multiples of 32"):
        model.run(**inputs_for(np.full((64, 97), 50, np.float32), 0))


def test_a_folder_that_holds_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(TintlabError, match="not empty"):
        export(base_model.FOLDER, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
