"""A TIFF file's photograph: by Pillow where it reads the samples rightly, by `samples` and `levels` elsewhere."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImagePalette
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from tintlab.imaging import color, guards, levels, profiles, tiff, tiff_pages, tones
from tintlab.imaging.guards import PatchedFile, PhotoError, WatchedFile
from tintlab.imaging.headers import Header, is_possible
from tintlab.imaging.metadata import CaptureMetadata, read_metadata
from tintlab.imaging.profiles import Calibration, Transfer
from tintlab.imaging.samples import COMPRESSIONS

_FULL_RANGE_YCBCR = (0, 255, 128, 255, 128, 255)
_BT601 = (0.299, 0.587, 0.114)
# Linear sRGB from XYZ under D50, adapted to D65 (Bradford); the rows add up to 1 with D50's white.
_SRGB_FROM_D50 = np.array(
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
)
_D50 = np.array([0.96422, 1.0, 0.82521])


@dataclass(frozen=True)
class TiffPicture:
    """A photograph as it lies in a TIFF file, upright and in sRGB; see `photos.Photo`."""

    pixels: tones.Pixels
    mode: str
    metadata: CaptureMetadata
    notes: tuple[str, ...]
    more_pages: int


def tiff_size(file: WatchedFile, page: int) -> tuple[int, int]:
    """Width and height of a photograph, by its tags; see `read_tiff`."""
    found = tiff_pages.find_photographs(file).take(page)
    tags = tiff_pages.TaggedPage(tiff_pages.page_file(file, found.offset)).tag_v2
    return tiff.number(tags, tiff.WIDTH, 0), tiff.number(tags, tiff.HEIGHT, 0)


def read_tiff(file: WatchedFile, max_megapixels: float, number: int) -> TiffPicture:
    """Read one of a file's photographs.

    Args:
        file: the file.
        max_megapixels: see `photos.read_photo`.
        number: of the photograph, from 1; see `tiff_pages.find_photographs`.

    Raises:
        PhotoError: there is none, it is too large, or its samples leave open what they mean.
    """
    album = tiff_pages.find_photographs(file)
    choice = album.take(number)
    page = tiff_pages.page_file(file, choice.offset)
    tags = tiff_pages.TaggedPage(page)
    width, height = tiff.number(tags.tag_v2, tiff.WIDTH, 0), tiff.number(tags.tag_v2, tiff.HEIGHT, 0)
    if width < 1 or height < 1:
        raise PhotoError("broken picture data (its size is missing)")
    guards.refuse_large(width, height, max_megapixels)
    layout = tiff.read_layout(tags.tag_v2)
    notes = []
    if choice.is_only_reduced:
        notes.append("the file has only a reduced picture")
    if album.breaks_off and album.count == 1:
        notes.append("the file names another page that is not there")
    if layout.bits > 8 and layout.colours > 1 and layout.photometric not in (tiff.CIELAB, tiff.ICCLAB):
        notes.append(f"of its {layout.bits} bits a channel 8 were read")
    profile = tags.info.get("icc_profile", b"")
    orientation, metadata = tones.orientation_of(tags), read_metadata(tags)
    if choice.outer:
        outer = tiff_pages.TaggedPage(tiff_pages.page_file(file, choice.outer))
        if tiff.ORIENTATION not in tags.tag_v2:
            orientation = tones.orientation_of(outer)
        if not metadata.exif:
            metadata = read_metadata(outer)
    header = Header() if profile else Header(_calibration(tags.tag_v2, layout))
    if _is_for_pillow(layout):
        page.seek(0)
        pixels, mode = _by_pillow(page, layout, profile, header)
        if tiff.ORIENTATION in tags.tag_v2:
            orientation = 1  # Pillow has applied it
    else:
        pixels, mode = _by_samples(page, tags, layout, profile, header)
    return TiffPicture(tones.turn(pixels, orientation), mode, metadata, tuple(notes), album.count - 1)


def _is_for_pillow(layout: tiff.Layout) -> bool:
    """Whether Pillow reads such samples rightly, or is the only one that can undo their compression."""
    if layout.kind != "unsigned" or layout.photometric == tiff.ICCLAB:
        return False
    if layout.compression not in COMPRESSIONS:
        return layout.bits in (1, 8)
    if layout.photometric == tiff.YCBCR:
        return True
    if layout.is_planar or layout.is_void or layout.photometric == tiff.CIELAB or layout.white is not None:
        return layout.photometric == tiff.PALETTE
    if layout.photometric in (tiff.WHITE_IS_ZERO, tiff.BLACK_IS_ZERO):
        return (layout.bits == 8 and layout.alpha is None) or (
            layout.bits in (1, 2, 4) and layout.samples == 1
        )
    return layout.bits == 8 or (layout.photometric == tiff.PALETTE and layout.bits <= 8)


def _calibration(ifd: ImageFileDirectory_v2, layout: tiff.Layout) -> Calibration | None:
    """What TransferFunction, WhitePoint and PrimaryChromaticities state (TIFF 6.0, section 20)."""
    table, size = tiff.numbers(ifd, tiff.TRANSFER), 1 << min(layout.bits, 16)
    primaries, white = tiff.numbers(ifd, tiff.PRIMARIES), tiff.numbers(ifd, tiff.WHITE_POINT)
    curve: Transfer = "srgb"
    if layout.bits <= 16 and len(table) in (size, 3 * size) and max(table) > 0:
        first = table[:size]
        if any(table[at : at + size] != first for at in range(0, len(table), size)):
            raise PhotoError("TIFF of several transfer functions, which is not read: save it in sRGB")
        first = first[::-1] if layout.photometric == tiff.WHITE_IS_ZERO else first
        curve = tuple(value / 65535 for value in first)
    if layout.colours == 3 and len(primaries) == 6 and len(white) == 2 and is_possible((*white, *primaries)):
        return Calibration(curve, primaries, (white[0], white[1]))
    return None if curve == "srgb" else Calibration(curve)


def _by_pillow(
    page: PatchedFile, layout: tiff.Layout, profile: bytes, header: Header
) -> tuple[tones.Pixels, str]:
    with Image.open(page, formats=["TIFF"]) as image:  # type: ignore[arg-type]
        assert isinstance(image, TiffImageFile)
        if layout.photometric == tiff.YCBCR:
            _refuse_odd_ycbcr(image, layout)
        mode = image.mode
        image.load()
        if mode in ("P", "PA"):
            _widen_palette(image)
        image.info["icc_profile"] = profile
        return tones.finish_image(image, header), mode


def _widen_palette(image: TiffImageFile) -> None:
    """Some writers fill the 16-bit palette with 8-bit values; so does libtiff take them."""
    values = tiff.numbers(image.tag_v2, tiff.COLOUR_MAP)
    if values and 0 < max(values) < 256:
        image.palette = ImagePalette.raw("RGB;L", bytes(int(value) for value in values))
        image.load()


def _refuse_odd_ycbcr(image: TiffImageFile, layout: tiff.Layout) -> None:
    """Pillow takes YCbCr that is not compressed for that of JPEG at full resolution."""
    tags = image.tag_v2
    reference = tiff.numbers(tags, tiff.REFERENCE) or _FULL_RANGE_YCBCR
    weights = tiff.numbers(tags, tiff.COEFFICIENTS) or _BT601
    usual = all(abs(one - other) <= 1 for one, other in zip(reference, _FULL_RANGE_YCBCR, strict=False))
    usual = usual and all(abs(one - other) < 0.002 for one, other in zip(weights, _BT601, strict=False))
    if not usual:
        raise PhotoError(
            "TIFF of YCbCr in an unusual range or of unusual weights, which is not read: convert it to RGB"
        )
    stored = sum(tiff.numbers(tags, tiff.STRIP_SIZES) or tiff.numbers(tags, tiff.TILE_SIZES))
    if layout.compression == 1 and stored < 3 * layout.width * layout.height:
        raise PhotoError("TIFF of subsampled YCbCr, uncompressed, which is not read: convert it to RGB")


def _by_samples(
    page: PatchedFile, tags: tiff_pages.TaggedPage, layout: tiff.Layout, profile: bytes, header: Header
) -> tuple[tones.Pixels, str]:
    ifd = tags.tag_v2
    if layout.photometric in (tiff.CIELAB, tiff.ICCLAB):
        return _lab_to_srgb(*levels.read_lab(page, ifd, layout)), "LAB"
    if layout.photometric in (tiff.PALETTE, tiff.YCBCR):
        name = "a palette" if layout.photometric == tiff.PALETTE else "YCbCr"
        raise PhotoError(f"TIFF of {name} with {layout.bits} bits, which is not read: convert it to RGB")
    suffix = (
        "" if layout.bits == 8 and layout.kind == "unsigned" else f";{layout.bits}{layout.kind[0].upper()}"
    )
    if layout.colours == 1:
        grey = levels.read_grey(page, ifd, layout)
        return tones.finish_grey(grey, profile, header), ("L" if layout.alpha is None else "LA") + suffix
    colours = levels.read_colours(page, ifd, layout)
    image = Image.fromarray(colours, "CMYK") if layout.colours == 4 else Image.fromarray(colours)
    image.info["icc_profile"] = profile
    return tones.finish_image(image, header), image.mode + suffix


def _lab_to_srgb(lightness: NDArray[np.float32], colours: NDArray[np.float32] | None) -> tones.Pixels:
    """sRGB of L*a*b* under D50: 16-bit grey where there are no colours, else 8 bits, clipped."""
    if colours is None:
        return np.rint(color.lightness_to_grey(lightness) * 65535).astype(np.uint16)
    result = np.empty((*lightness.shape, 3), np.uint8)
    for rows in color.strips(lightness.shape):
        fy = (lightness[rows].astype(np.float64) + 16) / 116
        f = np.stack([fy + colours[rows][..., 0] / 500, fy, fy - colours[rows][..., 1] / 200], axis=-1)
        linear = (_from_f(f) * _D50) @ _SRGB_FROM_D50.T
        result[rows] = np.rint(profiles.companded(np.clip(linear, 0, 1)) * 255)
    return result


def _from_f(f: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIE 15:2004: the share of white of a value f."""
    return np.where(f > 6 / 29, f**3, (f - 16 / 116) * (3 * (6 / 29) ** 2))
