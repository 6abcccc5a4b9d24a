"""Pages of TIFF files: previews, albums, camera raw."""

import numpy as np
import pytest

from tests.imaging import making
from tests.imaging.making import Page, grey_page, tiff_of
from tests.imaging.test_faults import read, reason
from tintlab.imaging import camera_raw
from tintlab.imaging.photos import PhotoError, count_pages, megapixels_of, read_photo


def page(
    width: int, height: int, kind: int | None, shade: int = 90, channels: int = 1, **more: object
) -> Page:
    samples = np.full((height, width, channels), shade, "u1")
    tags: making.Tags = {} if kind is None else {254: ("I", [kind])}
    return grey_page(samples, 8, photometric=2 if channels == 3 else 1, more=tags | more.get("more", {}))


def test_an_album_says_how_many_pages_are_left() -> None:
    photo = read(tiff_of([page(60, 40, 2, shade) for shade in (50, 100, 150)]))
    assert photo.more_pages == 2
    assert photo.notes == ("2 more pages of the file were not read",)
    assert (photo.pixels == 50).all()
    assert read(tiff_of([page(60, 40, None), page(60, 40, None)])).notes == (
        "1 more page of the file was not read",
    )


def test_each_page_of_an_album_is_read_by_its_number() -> None:
    first, second, third = (page(60, 40, None, shade) for shade in (50, 100, 150))
    second.sub = [page(30, 20, 1, 7)]
    third.tags |= {274: ("H", [6])}
    data = tiff_of([page(12, 8, 1, 9), first, second, page(60, 40, 4), third])
    assert count_pages(data) == 3
    photos = [read_photo(data, 1, number) for number in (1, 2, 3)]
    assert [int(photo.pixels[0, 0]) for photo in photos] == [50, 100, 150]
    assert [photo.pixels.shape for photo in photos] == [(40, 60), (40, 60), (60, 40)]
    assert [(photo.more_pages, photo.notes) for photo in photos] == [(0, ())] * 3
    assert megapixels_of(data, 1, 3) == pytest.approx(0.0024)
    with pytest.raises(PhotoError, match="it is not where the file says"):
        read_photo(data, 1, 4)


def test_a_smaller_photograph_among_others_is_no_preview() -> None:
    assert count_pages(tiff_of([page(4800, 20, None), page(2400, 10, None)])) == 2
    assert count_pages(tiff_of([page(4800, 20, None), page(480, 2, None)])) == 1
    assert count_pages(tiff_of([page(160, 120, None), page(90, 120, None), page(40, 30, None)])) == 3


def test_previews_with_their_pictures_behind_them_are_a_photograph_each() -> None:
    pages = [page(40, 30, 1), page(40, 30, 1)]
    for number, one in enumerate(pages):
        one.sub = [page(160, 120, 0, 60 + number)]
    data = tiff_of(pages)
    assert count_pages(data) == 2
    assert [int(read_photo(data, 1, number).pixels[0, 0]) for number in (1, 2)] == [60, 61]


def test_a_page_beyond_the_end_counts_and_a_single_page_only_notes_it() -> None:
    pages = [page(60, 40, None, shade) for shade in (50, 100)]
    data = bytearray(tiff_of(pages))
    data[-4:] = (len(data) + 100).to_bytes(4, "little")
    assert count_pages(bytes(data)) == 3
    with pytest.raises(PhotoError, match="cut short or damaged"):
        read_photo(bytes(data), 1, 3)
    single = bytearray(tiff_of(pages[:1]))
    single[-4:] = (len(single) + 100).to_bytes(4, "little")
    assert count_pages(bytes(single)) == 1
    assert read(bytes(single)).notes == ("the file names another page that is not there",)


@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
def test_a_preview_gives_way_to_the_picture(order: str, big: bool) -> None:
    def pages(kinds: list[int | None]) -> list[Page]:
        sizes = [(40, 30), (160, 120)]
        return [
            grey_page(
                np.full((h, w), w, "u1"), 8, order=order, more={} if kind is None else {254: ("I", [kind])}
            )
            for (w, h), kind in zip(sizes, kinds, strict=True)
        ]

    for kinds in ([1, 0], [1, None], [None, None], [None, 0]):
        photo = read(tiff_of(pages(kinds), order, big))
        assert photo.pixels.shape == (120, 160)
        assert (photo.more_pages, photo.notes) == (0, ())
    first, second = pages([1, 0])
    first.sub = [second]
    assert read(tiff_of([first], order, big)).pixels.shape == (120, 160)


def test_smaller_copies_and_masks_are_no_pages() -> None:
    photo = read(tiff_of([page(160, 120, 0), page(80, 60, 1), page(40, 30, 1), page(160, 120, 4)]))
    assert photo.more_pages == 0
    main = page(160, 120, 0)
    main.sub = [page(80, 60, 1), page(40, 30, 1)]
    assert read(tiff_of([main])).more_pages == 0


def test_a_picture_that_is_only_a_preview_says_so() -> None:
    assert read(tiff_of([page(40, 30, 1)])).notes == ("the file has only a reduced picture",)


def test_a_preview_takes_its_pictures_metadata_and_orientation() -> None:
    preview = page(40, 30, 1, more={271: ("s", b"scanner\0"), 274: ("H", [6])})
    preview.sub = [page(160, 120, 0)]
    photo = read(tiff_of([preview]))
    assert photo.pixels.shape == (160, 120)
    assert b"scanner" in photo.metadata.exif


# --- camera raw


def raw(make: bytes, **tags: object) -> bytes:
    preview = page(40, 30, 1, channels=3, more={271: ("s", make + b"\0")})
    mosaic = grey_page(np.full((120, 160), 900, "u2"), 16, photometric=32803, more={254: ("I", [0])})
    mosaic.tags |= tags.get("tags", {})
    preview.sub = [page(80, 60, 1, channels=3), mosaic]
    return tiff_of([preview])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(raw(b"NIKON CORPORATION"), id="colour filter array"),
        pytest.param(raw(b"NIKON CORPORATION", tags={262: ("H", [1])}), id="a deep mosaic"),
        pytest.param(
            raw(b"NIKON CORPORATION", tags={262: ("H", [1]), 259: ("H", [34713])}), id="compression"
        ),
        pytest.param(raw(b"NIKON CORPORATION", tags={262: ("H", [34892])}), id="linear raw"),
    ],
)
def test_camera_raw_is_refused_by_its_name(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_raw, "is_libraw_installed", lambda: False)
    assert reason(data).startswith("camera raw (NIKON CORPORATION), which is not read: `pip install")


def test_dng_without_a_maker_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_raw, "is_libraw_installed", lambda: False)
    plain = page(160, 120, 0, channels=3, more={50706: ("B", [1, 4, 0, 0])})
    assert reason(tiff_of([plain])).startswith("camera raw (DNG")
