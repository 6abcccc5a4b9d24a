"""`mlflow models serve` with the champion, asked over HTTP."""

import base64
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.hostile.servers import ask, model_server
from tests.registry.conftest import make_model
from tintlab.imaging.photos import read_photo
from tintlab.inference.colorizer import Colorizer
from tintlab.registry import promotion, register

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("served model"), 5)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[str]:
    """The address of a service of the champion, started as the documentation says."""
    folder = tmp_path_factory.mktemp("service")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINTLAB_STATE", str(folder / "state"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        register.register(model)
        promotion.promote(1, "a test", forced=True)
    store = f"sqlite:///{folder}/state/mlflow.db"
    with model_server("models:/tintlab@champion", folder, MLFLOW_TRACKING_URI=store) as (_, address):
        yield address


def pixels(answer: dict[str, Any], row: int = 0) -> np.ndarray[Any, Any]:
    image = Image.open(io.BytesIO(base64.b64decode(answer["predictions"][row]["image"])))
    assert image.format == "PNG"
    return np.asarray(image)


def test_a_photo_comes_back_in_colour(
    service: str, model: Path, encoded: Callable[..., bytes], picture: Callable[..., Any]
) -> None:
    grey = Image.fromarray(picture(70, 50)).convert("L")
    file = encoded(grey, "JPEG")
    status, answer = ask(service, file)
    assert status == 200, answer
    expected = Colorizer.load(model).colorize(read_photo(file, 1))
    assert np.array_equal(pixels(answer), expected)
    # Not grey: the channels differ.
    assert np.ptp(pixels(answer).astype(int), axis=2).mean() > 1


def test_several_photos_keep_their_order(
    service: str, encoded: Callable[..., bytes], picture: Callable[..., Any]
) -> None:
    status, answer = ask(service, encoded(picture(30, 40)), encoded(picture(50, 20)))
    assert status == 200, answer
    assert [pixels(answer, row).shape for row in (0, 1)] == [(40, 30, 3), (20, 50, 3)]


def test_size_and_saturation_can_be_chosen(
    service: str, model: Path, encoded: Callable[..., bytes], picture: Callable[..., Any]
) -> None:
    file = encoded(picture(60, 60))
    _, plain = ask(service, file)
    _, larger = ask(service, file, size=96)
    _, colourless = ask(service, file, saturation=0.0)
    assert np.array_equal(pixels(larger), Colorizer.load(model).colorize(read_photo(file, 1), 96))
    assert not np.array_equal(pixels(larger), pixels(plain))
    assert np.ptp(pixels(colourless).astype(int), axis=2).max() <= 1


@pytest.mark.parametrize(
    ("image", "params", "reason"),
    [
        (b"no image at all", {}, "image 0 can't be used: "),
        (b"", {}, "image 0 can't be used: "),
        (None, {"size": 5}, "size: Input should be greater than or equal to 32"),
        (None, {"size": 100_000}, "size: at most 1024"),
        (None, {"saturation": -1.0}, "saturation: Input should be greater than or equal to 0"),
        (None, {"size": "large"}, "size"),
    ],
)
def test_what_can_not_be_used_is_refused_with_the_reason(
    service: str, image: bytes | None, params: dict[str, Any], reason: str, encoded: Callable[..., bytes],
    picture: Callable[..., Any],
) -> None:  # fmt: skip
    status, answer = ask(service, encoded(picture()) if image is None else image, **params)
    assert status == 400
    assert reason in answer["message"]
    assert "Traceback" not in json.dumps(answer)
