"""Small models whose noise does what is known, and photographs to try them on."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tintlab.explore.model import Explored
from tintlab.explore.subjects import Subject
from tintlab.gan.model_files import build_generator, save_generator
from tintlab.gan.pretrained_unet import PretrainedUNet
from tintlab.imaging import color
from tintlab.inference.colorizer import Colorizer, Settings
from tintlab.system import paths
from tintlab.system.tables import PHOTO_FACTS

Z_DIM = 4
CONFIG = {
    "generator": "pretrained_unet",
    "size": 32,
    "channels": 4,
    "dropout": 0.3,
    "context_dropout": 0.3,
    "z_dim": Z_DIM,
    "working_size": 64,
    "fingerprint": "0123456789abcdef",
}


class Painter(nn.Module):
    """Paints all pixels in a colour that the noise alone decides: ab = 110 tanh(z effects / 4)."""

    multiple = 1
    z_dim = Z_DIM

    def __init__(self, effects: np.ndarray) -> None:
        super().__init__()
        self.effects = torch.from_numpy(effects).float()

    def encode(self, L: Tensor) -> Tensor:
        return L

    def decode(self, encoded: Tensor, z: Tensor | None = None) -> Tensor:
        ab = torch.zeros(len(encoded), 2) if z is None else torch.tanh(z @ self.effects / 4)
        return ab[:, :, None, None].expand(-1, -1, *encoded.shape[2:])


def painter(effects: np.ndarray) -> Explored:
    """A model whose noise has these effects on a* and b*, `(Z_DIM, 2)`."""
    settings = Settings(working_size=32)
    return Explored(Path("nowhere"), "ab" * 32, "", Colorizer(Painter(effects), 1, settings))


def subject(picture: np.ndarray, name: str = "a.png") -> Subject:
    """A picture `(h, w, 3)` as one to explore on."""
    lab = color.rgb_to_lab(picture)
    digest = hashlib.sha256(picture.tobytes()).hexdigest()
    return Subject(name, digest, lab[..., 0], lab[..., 1:])


def generator() -> PretrainedUNet:
    """A tiny generator of the default kind with random weights, whose colours are plain to see."""
    torch.manual_seed(0)
    made = build_generator(CONFIG, pretrained=False)
    assert isinstance(made, PretrainedUNet)
    nn.init.normal_(made.output.weight, 0, 0.5)
    return made.eval()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model with noise and dropout."""
    folder = tmp_path_factory.mktemp("explored")
    save_generator(folder, generator(), CONFIG)
    return folder


@pytest.fixture
def scenes(picture: Callable[..., np.ndarray]) -> list[Subject]:
    """Eight photographs of 40 x 32 pixels, blue above and green below, as skies and meadows are."""
    found = []
    for seed in range(8):
        pixels = picture(40, 32, seed).astype(float) * 0.3
        pixels[:16] += (90, 130, 190)
        pixels[16:] += (60, 120, 40)
        found.append(subject(pixels.clip(0, 255).astype(np.uint8), f"{seed}.png"))
    return found


@pytest.fixture
def pipeline_data(tmp_path: Path, scenes: list[Subject], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with photographs of the validation and test splits, as the pipeline leaves them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path / "state"))
    paths.RAW.mkdir(parents=True)
    rows, facts = [], []
    for index, scene in enumerate(scenes):
        Image.fromarray(scene.coloured(scene.ab)).save(paths.RAW / scene.photo)
        split = "val" if index % 2 else "test"
        rows.append((scene.photo, split, scene.photo, "places", 40, 32))
        facts.append((scene.photo, scene.sha256))
    columns = ["photo", "split", "cluster", "category", "width", "height"]
    pd.DataFrame(rows, columns=columns).to_csv(paths.ACCEPTED, index=False)
    empty = {"str": "", "int64": 0, "float64": 0.0}
    table = pd.DataFrame(facts, columns=["photo", "sha256"])
    table.assign(**{name: empty[kind] for name, kind in PHOTO_FACTS.items() if name not in table})[
        list(PHOTO_FACTS)
    ].to_csv(paths.PHOTOS, index=False)
    return tmp_path
