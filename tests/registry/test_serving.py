"""`mlflow models serve` with the champion, asked over HTTP, every file that it opens written down."""

import base64
import io
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.hostile.servers import Site, ask, model_server, serving
from tests.registry.conftest import make_model
from tintlab.imaging.photos import read_photo
from tintlab.inference.colorizer import Colorizer
from tintlab.registry import promotion, register

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


AUDIT = """
import os, sys

log = os.open({log!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def audit(event, arguments):
    if event in ("open", "socket.connect", "socket.getaddrinfo", "subprocess.Popen", "urllib.Request"):
        os.write(log, f"{{event}} {{arguments!r}}\\n".encode("utf-8", "backslashreplace"))

sys.addaudithook(audit)
"""


@pytest.fixture(scope="module")
def audit_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the served process writes each file that it opens and each connection that it makes."""
    folder = tmp_path_factory.mktemp("audit")
    (folder / "sitecustomize.py").write_text(AUDIT.format(log=str(folder / "log")))
    return folder / "log"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("served model"), 5)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, model: Path, audit_log: Path) -> Iterator[str]:
    """The address of a service of the champion, started as the documentation says."""
    folder = tmp_path_factory.mktemp("service")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINTLAB_STATE", str(folder / "state"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        register.register(model)
        promotion.promote(1, "a test", forced=True)
    store = f"sqlite:///{folder}/state/mlflow.db"
    environment = {"MLFLOW_TRACKING_URI": store, "PYTHONPATH": str(audit_log.parent)}
    with model_server("models:/tintlab@champion", folder, **environment) as (_, address):
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


def send(service: str, content_type: str, body: bytes) -> tuple[int, str]:
    request = urllib.request.Request(f"{service}/invocations", body, {"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=100) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def forms(text: str, data: bytes) -> Iterator[tuple[str, str, bytes]]:
    """A name, a content type and a body for each way to send `text` or `data` in the place of a picture."""

    def as_json(value: Any) -> tuple[str, bytes]:
        return "application/json", json.dumps(value).encode()

    def parquet(column: list[Any]) -> tuple[str, bytes]:
        file = io.BytesIO()
        pd.DataFrame({"image": column}).to_parquet(file)
        return "application/vnd.apache.parquet", file.getvalue()

    yield "csv", "text/csv", f"image\n{text}\n".encode()
    yield "csv, quoted", "text/csv", f'image\n"{text}"\n"{text}"\n'.encode()
    yield "csv, index", "text/csv", f",image\n0,{text}\n".encode()
    yield "parquet, text", *parquet([text])
    yield "parquet, bytes", *parquet([data])
    yield "parquet, list", *parquet([[text]])
    yield "parquet, mixed", *parquet([text, None])
    for name, value in {"text": text, "base64": base64.b64encode(data).decode(), "list": [text]}.items():
        yield f"split, {name}", *as_json({"dataframe_split": {"columns": ["image"], "data": [[value]]}})
        yield f"records, {name}", *as_json({"dataframe_records": [{"image": value}]})
        yield f"instances, {name}", *as_json({"instances": [{"image": value}]})
        yield f"bare instances, {name}", *as_json({"instances": [value]})
        yield f"inputs, {name}", *as_json({"inputs": {"image": [value]}})
        yield f"scalar inputs, {name}", *as_json({"inputs": {"image": value}})
        yield f"bare inputs, {name}", *as_json({"inputs": value})
    yield "messages", *as_json({"messages": [{"role": "user", "content": text}], "image": text})
    yield "bare JSON", *as_json({"image": text})
    yield "JSON text", *as_json(text)
    yield "text", "text/plain", text.encode()
    yield "octets", "application/octet-stream", data


def test_nothing_a_client_sends_is_opened_or_fetched(
    service: str, audit_log: Path, tmp_path: Path, encoded: Callable[..., bytes], picture: Callable[..., Any]
) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(encoded(picture(40, 40)))
    assert ask(service, secret.read_bytes())[0] == 200  # what is imported late is imported now
    for _, content_type, body in forms("nothing", b"nothing"):
        send(service, content_type, body)
    before = audit_log.stat().st_size
    assert before
    seen = {}
    with serving(Site(files={"/secret.png": secret.read_bytes()})) as site:
        for text in (str(secret), secret.as_uri(), site.url("/secret.png")):
            for name, content_type, body in forms(text, text.encode()):
                seen[f"{name}: {text}"] = send(service, content_type, body)
        assert site.asked == []
    assert len(seen) == 3 * 33
    wrong = {name: answer for name, answer in seen.items() if answer[0] not in (400, 415)}
    assert not wrong
    assert {name.partition(":")[0] for name, answer in seen.items() if answer[0] == 415} == {"text", "octets"}
    with audit_log.open("rb") as log:
        log.seek(before)
        assert log.read().decode() == ""
    assert ask(service, secret.read_bytes())[0] == 200


def test_a_path_is_refused_with_the_form_that_is_wanted(service: str, tmp_path: Path) -> None:
    wanted = "image 0 is text, not bytes: send the photograph's own bytes, in JSON as base64 or in Parquet"
    status, answer = send(service, "text/csv", f"image\n{tmp_path}\n".encode())
    assert (status, wanted in answer) == (400, True)
