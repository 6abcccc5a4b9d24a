"""Camera raw by its full-size preview, or developed by LibRaw; or one line that says what to install."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import encode, make_picture
from tests.imaging import raws
from tests.imaging.test_faults import read, reason
from tests.scoring.conftest import make_model, make_settings
from tintlab.imaging import camera_raw, color
from tintlab.imaging.photos import PhotoError, megapixels_of, read_photo
from tintlab.scoring import archive
from tintlab.scoring.trace import trace

NAME = "camera raw (NIKON CORPORATION)"
UNREAD = f"{NAME}, which is not read: `pip install 'tintlab[raw]'` reads it, or save it as TIFF or JPEG"


@pytest.fixture
def without_rawpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_raw, "is_libraw_installed", lambda: False)


@pytest.mark.usefixtures("without_rawpy")
@pytest.mark.parametrize("compression", [6, 7])
def test_the_full_size_preview_is_read(compression: int) -> None:
    jpeg = encode(make_picture(160, 120, seed=5), "JPEG", quality=95)
    data = raws.with_preview(jpeg, (160, 120), (164, 124), compression=compression)
    photo = read(data)
    with Image.open(io.BytesIO(jpeg)) as image:
        theirs = np.asarray(image)
    assert np.abs(photo.lightness() - color.lightness(theirs)).max() <= 0.5
    assert photo.form == f"the full-size preview in {NAME}"
    assert photo.notes == (photo.form,)
    assert photo.format == "RAW"
    assert b"NIKON" in photo.metadata.exif
    assert megapixels_of(data, 200) > 0


def test_orientation_is_the_files_unless_the_preview_has_its_own() -> None:
    pixels = make_picture(160, 120)
    exif = Image.Exif()
    exif[274] = 3
    for jpeg, shape in (
        (encode(pixels, "JPEG"), (160, 120)),
        (encode(pixels, "JPEG", exif=exif.tobytes()), (120, 160)),
    ):
        photo = read(raws.with_preview(jpeg, (160, 120), (160, 120), orientation=6))
        assert photo.pixels.shape[:2] == shape


def test_fujifilms_preview_is_read() -> None:
    photo = read(raws.raf(encode(make_picture(1300, 900), "JPEG")))
    assert photo.pixels.shape == (900, 1300, 3)
    assert photo.form == "the full-size preview in camera raw (Fujifilm RAF)"


@pytest.mark.usefixtures("without_rawpy")
def test_small_broken_and_missing_previews_say_what_to_install() -> None:
    small = encode(make_picture(80, 60), "JPEG")
    assert reason(raws.with_preview(small, (80, 60), (160, 120))) == UNREAD
    assert reason(raws.with_preview(b"\xff\xd8\xff\xc3" + bytes(90), (160, 120), (160, 120))) == UNREAD
    assert reason(raws.dng(np.full((120, 160), 900, np.uint16))) == UNREAD
    cut = raws.sample()[0]
    assert reason(cut[: len(cut) // 8])


def test_libraw_develops_what_has_no_preview() -> None:
    values = np.full((120, 160), 30_000, np.uint16)
    values[:, :8] = 65_535  # white, which LibRaw would else look for in the picture
    photo = read(raws.dng(values))
    assert photo.pixels.shape == (120, 160, 3)
    assert photo.form.startswith("camera raw, developed by LibRaw ")
    wanted = color.grey_to_lightness(
        np.array([[round(255 * (1.055 * (30_000 / 65_535) ** (1 / 2.4) - 0.055))]], np.uint8)
    )
    assert abs(float(photo.lightness()[40:80, 60:120].mean()) - float(wanted[0, 0])) <= 0.5


def test_libraw_refuses_in_one_line_and_by_size() -> None:
    damaged = b"FUJIFILMCCD-RAW 0201" + bytes(300)
    assert reason(damaged).startswith("camera raw (Fujifilm RAF) that LibRaw can't read (")
    assert "megapixels, more than photos.max_megapixels" in reason_at(
        raws.dng(np.full((400, 400), 9, np.uint16)), 0.1
    )


def reason_at(data: bytes, limit: float) -> str:
    with pytest.raises(PhotoError) as caught:
        read_photo(data, limit)
    return str(caught.value)


def test_a_coloured_file_says_that_a_preview_stood_for_it(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans/a.nef").write_bytes(raws.sample()[0])
    settings = make_settings(make_model(tmp_path / "model"), tmp_path / "out")
    assert archive.score(tmp_path / "scans", settings, lambda _: None).coloured == 1
    assert trace(tmp_path / "out/a.png").file.source_form == f"the full-size preview in {NAME}"
