"""The tags of a TIFF page: their numbers, and what they say of its samples.

Tag numbers and meanings are those of TIFF 6.0, its technical notes, TIFF/EP (ISO 12234-2) and DNG 1.6.
"""

from dataclasses import dataclass, replace

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from tintlab.imaging.guards import PhotoError

HEADERS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"II\0*", b"MM*\0")
"""How TIFF and BigTIFF files begin; the last two are mistakes of writers."""

SUBFILE, OLD_SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 255, 256, 257, 258, 259, 262
FILL_ORDER, MAKE, STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS, STRIP_SIZES = 266, 271, 273, 274, 277, 278, 279
X_RESOLUTION, Y_RESOLUTION, PLANAR, RESOLUTION_UNIT, PREDICTOR, COLOUR_MAP = 282, 283, 284, 296, 317, 320
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES, SUB_IFDS, INK_SET = 322, 323, 324, 325, 330, 332
TRANSFER, WHITE_POINT, PRIMARIES = 301, 318, 319
EXTRA, SAMPLE_FORMAT, SMALLEST, LARGEST, COEFFICIENTS, REFERENCE = 338, 339, 340, 341, 529, 532

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, CMYK, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 4, 5, 6, 8, 9
_PHOTOMETRIC_NAMES = {
    MASK: "a transparency mask",
    10: "ITU L*a*b*",
    32844: "LogL",
    32845: "LogLuv",
    51177: "a depth map",
    52527: "a semantic mask",
}
_UNSIGNED, _SIGNED, _FLOAT, _VOID = 1, 2, 3, 4
_MOST_TAG_BYTES = 4 << 20


def numbers(ifd: ImageFileDirectory_v2, tag: int) -> tuple[float, ...]:
    """The numbers of a tag; empty where there are none.

    Raises:
        PhotoError: there are more than a million.
    """
    if len(ifd._tagdata.get(tag, b"")) > _MOST_TAG_BYTES:
        raise PhotoError("its data is in too many small pieces: save it again, with larger strips or tiles")
    value = ifd.get(tag)
    if value is None:
        return ()
    values = value if isinstance(value, tuple | list) else (value,)
    try:
        return tuple(one if isinstance(one, int) else float(one) for one in values)
    except (TypeError, ValueError, ZeroDivisionError):
        return ()


def number(ifd: ImageFileDirectory_v2, tag: int, default: int) -> int:
    """The first number of a tag, as an integer."""
    found = numbers(ifd, tag)
    return int(found[0]) if found and abs(found[0]) < 2**63 else default


@dataclass(frozen=True)
class Layout:
    """How the samples of a page are stored, and what they mean.

    Attributes:
        width: pixels a row.
        height: rows.
        bits: a sample; all samples of a pixel have as many.
        kind: `unsigned`, `signed` or `float`.
        is_void: whether the file leaves the kind open, which TIFF takes for unsigned.
        samples: a pixel.
        photometric: TIFF's number.
        compression: TIFF's number.
        alpha: index of the sample that is transparency; None without.
        is_premultiplied: whether the colours have been multiplied by it.
        is_planar: whether each sample has a plane of its own.
        predictor: TIFF's number.
        reversed_bits: whether the lowest bit of a byte comes first.
        little_endian: whether the lowest byte of a number comes first.
        black: what a sample of black is; None where the tags don't say, as `white`.
        white: see `black`.
    """

    width: int
    height: int
    bits: int
    kind: str
    is_void: bool
    samples: int
    photometric: int
    compression: int
    alpha: int | None
    is_premultiplied: bool
    is_planar: bool
    predictor: int
    reversed_bits: bool
    little_endian: bool
    black: float | None
    white: float | None

    @property
    def colours(self) -> int:
        """Samples of a pixel that are colours."""
        return {RGB: 3, CMYK: 4, YCBCR: 3, CIELAB: 3, ICCLAB: 3}.get(self.photometric, 1)


def read_layout(ifd: ImageFileDirectory_v2) -> Layout:
    """The layout of a page.

    Raises:
        PhotoError: its tags leave open what the samples mean, or say something that is not read.
    """
    bits, formats = numbers(ifd, BITS) or (1,), numbers(ifd, SAMPLE_FORMAT) or (_UNSIGNED,)
    samples = number(ifd, SAMPLES, len(bits))
    photometric = number(ifd, PHOTOMETRIC, -1)
    if photometric < 0:
        raise PhotoError("TIFF that does not say whether white or black is zero (PhotometricInterpretation)")
    if photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB, ICCLAB):
        name = _PHOTOMETRIC_NAMES.get(photometric, f"photometric interpretation {photometric}")
        raise PhotoError(f"TIFF of {name}, which is not read: convert it to grey or RGB")
    if not 1 <= samples <= 16:
        raise PhotoError(f"TIFF with {samples} samples a pixel, which is not read: convert it to grey or RGB")
    if len(set(bits[:samples])) > 1 or len(set(formats[:samples])) > 1:
        raise PhotoError("TIFF whose samples have several sizes or kinds, which is not read: save it as RGB")
    kind = {_UNSIGNED: "unsigned", _VOID: "unsigned", _SIGNED: "signed", _FLOAT: "float"}.get(int(formats[0]))
    if kind is None:
        raise PhotoError("TIFF of complex numbers, which is not read: save their magnitude as grey")
    layout = Layout(
        width=number(ifd, WIDTH, 0),
        height=number(ifd, HEIGHT, 0),
        bits=int(bits[0]),
        kind=kind,
        is_void=int(formats[0]) == _VOID,
        samples=samples,
        photometric=photometric,
        compression=number(ifd, COMPRESSION, 1),
        alpha=None,
        is_premultiplied=False,
        is_planar=number(ifd, PLANAR, 1) == 2 and samples > 1,
        predictor=number(ifd, PREDICTOR, 1),
        reversed_bits=number(ifd, FILL_ORDER, 1) == 2,
        little_endian=ifd.prefix == b"II",
        black=next(iter(numbers(ifd, SMALLEST)), None),
        white=next(iter(numbers(ifd, LARGEST)), None),
    )
    return _with_alpha(layout, ifd)


def _with_alpha(layout: Layout, ifd: ImageFileDirectory_v2) -> Layout:
    extra = layout.samples - layout.colours
    if extra < 0:
        raise PhotoError(
            f"TIFF with {layout.samples} samples a pixel where its colours need {layout.colours}: save it again"
        )
    if layout.photometric == CMYK and number(ifd, INK_SET, 1) != 1:
        raise PhotoError("TIFF of inks that are not CMYK, which is not read: convert it to RGB")
    kinds = numbers(ifd, EXTRA)
    # Of colours, a fourth sample without a word is transparency to all programs.
    if extra and not kinds and layout.photometric != RGB:
        raise PhotoError("TIFF that does not say what its additional channel means (ExtraSamples)")
    for place, kind in enumerate(kinds[:extra] or (2,) * min(extra, 1)):
        if kind in (1, 2, 999):  # 999 is CorelDRAW's
            return replace(layout, alpha=layout.colours + place, is_premultiplied=kind == 1)
    return layout
