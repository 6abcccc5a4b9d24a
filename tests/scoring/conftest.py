"""A tiny model, and archives that are awkward on purpose."""

import io
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tintlab.gan.model_files import save_generator
from tintlab.gan.unet import UNet
from tintlab.scoring.settings import ScoreSettings
from tintlab.system.files import read_json

WEIGHTS = "0" * 64


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny generator with random weights, as a trained one lies on disk."""
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def settings(model: Path, tmp_path: Path) -> ScoreSettings:
    """Settings of a scoring to `tmp_path / "out"`."""
    return make_settings(model, tmp_path / "out")


@pytest.fixture
def archive(tmp_path: Path, picture: Callable[..., np.ndarray]) -> Path:
    """Three photographs, of which two share a stem, one that is cut short, a hidden one and a text."""
    folder = tmp_path / "scans"
    for place in ("a.jpg", "a.png", "1920/b.jpg", ".hidden/c.jpg"):
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(70, 50, seed=len(place))).save(path)
    (folder / "1920/broken.jpg").write_bytes((folder / "a.jpg").read_bytes()[:300])
    (folder / "1920/notes.txt").write_text("in the attic")
    return folder


def make_model(folder: Path, seed: int = 0) -> Path:
    """A tiny generator with random weights."""
    torch.manual_seed(seed)
    config = {"generator": "unet", "size": 32, "channels": 4, "dropout": 0.0, "z_dim": 0, "working_size": 64}
    save_generator(folder, UNet(32, 4, 0.0), config | {"fingerprint": "0123456789abcdef"})
    return folder


def make_settings(model: Path, output: Path, **changes: object) -> ScoreSettings:
    """Settings that name the tiny model."""
    known = read_json(model / "config.json")
    settings = ScoreSettings(
        output, model, "local", None, WEIGHTS, known["fingerprint"], None, known["working_size"], 1.0
    )
    return replace(settings, **changes)  # type: ignore[arg-type]


def exiftool(path: Path) -> dict[str, str]:
    """What exiftool reads, keyed as `XMP-dc:Rights`; a reader that shares no code with Pillow."""
    if not shutil.which("exiftool"):
        pytest.skip("exiftool is missing: apt-get install libimage-exiftool-perl")
    command = ["exiftool", "-a", "-G1", "-s", "-n", "-sep", "|", str(path)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found = {}
    for line in lines:
        group, rest = line[1:].split("]", 1)
        name, value = rest.split(":", 1)
        found[f"{group.strip()}:{name.strip()}"] = value.strip()
    return found


def grey_profile(gamma: float) -> bytes:
    """An ICC profile (ISO 15076-1) of grey with a plain power curve, as scanners' software writes them."""

    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    white = fixed(0.9642, 1, 0.8249)
    described = struct.pack(">I", 5) + b"grey\0" + bytes(78)
    tags = {
        b"desc": b"desc" + bytes(4) + described,
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": b"XYZ " + bytes(4) + white,
        b"kTRC": b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)),
    }
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(
        ">I4sI12s12x4s", 128 + len(table + body), b"lcms", 0x02400000, b"mntrGRAYXYZ ", b"acsp"
    )
    return (head + bytes(28) + white).ljust(128, b"\0") + table + body


def saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    """The bytes of a picture file."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def decoded_png(data: bytes) -> np.ndarray:
    """Decode a 16-bit PNG by the standard's formulas: Pillow reads 8 bits of it."""
    place, idat, header = 8, b"", b""
    while place < len(data):
        length, name = struct.unpack(">I4s", data[place : place + 8])
        content = data[place + 8 : place + 8 + length]
        assert (
            zlib.crc32(name + content)
            == struct.unpack(">I", data[place + 8 + length : place + 12 + length])[0]
        )
        header, idat = (content if name == b"IHDR" else header), idat + (content if name == b"IDAT" else b"")
        place += 12 + length
    width, height, depth, kind = struct.unpack(">IIBB", header[:10])
    assert (depth, kind) == (16, 2)
    rows = np.frombuffer(zlib.decompress(idat), np.uint8).reshape(height, 1 + 6 * width).astype(int)
    result = np.zeros((height, 6 * width), int)
    for y, row in enumerate(rows):
        assert row[0] == 3  # Average
        for x in range(6 * width):
            left = result[y, x - 6] if x >= 6 else 0
            above = result[y - 1, x] if y else 0
            result[y, x] = (row[1 + x] + (left + above) // 2) % 256
    return result.astype(np.uint8).view(">u2").reshape(height, width, 3).astype(np.uint16)
