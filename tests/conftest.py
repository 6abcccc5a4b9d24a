"""What all tests share: one torch thread, a state folder of their own, and small generated photographs."""

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before torch is imported: two processes whose threads spin slow each other several times.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"

import hypothesis
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tintlab.system import entry_point
from tintlab.system import params as params_module

entry_point.prepare_environment()

# The same examples on every machine and every run, and no database of examples in the repository.
hypothesis.settings.register_profile("tintlab", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("tintlab")

Pixels = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def _pillows_limit() -> Iterator[None]:
    """Reading a photograph sets Pillow's limit for the process; the next test opens pictures of its own."""
    yield
    Image.MAX_IMAGE_PIXELS = None


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's folder."""
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def default_params(repository: Path) -> params_module.Params:
    """The repository's own params.yaml."""
    return params_module.load_params(repository / "params.yaml")


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["TINTLAB_STATE"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(autouse=True)
def _same_search_path() -> Iterator[None]:
    """No test leaves the modules' search path changed, for the tests after it and the processes they spawn."""
    before = list(sys.path)
    yield
    after, sys.path[:] = list(sys.path), before
    assert after == before


@pytest.fixture(scope="session")
def picture() -> Callable[..., Pixels]:
    """A function that makes a photo-like picture: `picture(width, height, seed)`, uint8 `(h, w, 3)`.

    Colourful and contrasty enough to pass validation; different seeds are no near-duplicates.
    """
    return make_picture


@pytest.fixture(scope="session")
def encoded() -> Callable[..., bytes]:
    """A function that writes an array or a Pillow image to a file's bytes: `encoded(pixels, "JPEG", …)`."""
    return encode


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of the machine may enter: pytest's own belong to one alone."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    for place, folders, _ in os.walk(folder):
        for name in folders:
            (Path(place) / name).chmod(0o700)
    shutil.rmtree(folder)


@pytest.fixture
def mini_collection(tmp_path: Path) -> Path:
    """A folder `photos` with 12 valid photographs in two categories: JPEG and PNG, wide, tall and square."""
    folder = tmp_path / "photos"
    sizes = [(128, 128), (160, 112), (112, 160), (200, 104)]
    for number in range(12):
        category, suffix = ("animals", "places")[number % 2], ("jpg", "png")[number % 3 == 2]
        path = folder / category / f"photo{number:02d}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = make_picture(*sizes[number % len(sizes)], seed=number)
        path.write_bytes(encode(pixels, "PNG") if suffix == "png" else encode(pixels, "JPEG", quality=90))
    return folder


def make_picture(width: int = 48, height: int = 32, seed: int = 0) -> Pixels:
    """A colourful gradient with soft discs on it."""
    random = np.random.default_rng(seed)

    def colour() -> NDArray[np.float64]:
        return random.uniform(20, 235) + random.uniform(-60, 60, 3)

    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    y, x = y / height, x / width
    angle = random.uniform(0, 2 * np.pi)
    along = (np.cos(angle) * x + np.sin(angle) * y)[..., None]
    pixels = colour() * (1 - along) + colour() * along
    for _ in range(6):
        centre_x, centre_y, radius = random.uniform(0, 1), random.uniform(0, 1), random.uniform(0.1, 0.35)
        inside = 1 / (1 + np.exp((np.hypot(x - centre_x, y - centre_y) - radius) * 60))
        pixels += inside[..., None] * (colour() - pixels)
    pixels += random.normal(0, 3, pixels.shape)
    return np.rint(np.clip(pixels, 0, 255)).astype(np.uint8)


def encode(pixels: NDArray[Any] | Image.Image, picture_format: str = "PNG", **options: Any) -> bytes:
    """The bytes of a picture file."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, picture_format, **options)
    return file.getvalue()
