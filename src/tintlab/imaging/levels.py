"""Convert samples of any kind to levels from black to white, if the file makes clear what these are.

| samples | black | white |
|---|---|---|
| unsigned, up to 16 bits | 0 | the highest number (TIFF 6.0) |
| signed, and 24 or 32 bits | 0 | the highest number, if its highest bit is in use |
| 32 bits that hold 16 or 24 | 0 | the highest number of 16 or 24 bits, if its highest bit is in use |
| floating | 0 | 1 |
| of any kind, if all lie between SMinSampleValue and SMaxSampleValue | SMinSampleValue | SMaxSampleValue |

Other samples are refused; the message gives the range that was found.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from tintlab.imaging import tiff
from tintlab.imaging.guards import PhotoError, WatchedFile
from tintlab.imaging.samples import Block, read_samples
from tintlab.imaging.tones import on_white

Levels = NDArray[np.uint8] | NDArray[np.uint16]

_TOLERANCE = 0.5 / 65535  # of a floating number beyond black or white
_BITS_OF_A_SCAN = (16, 24)  # that samples of 32 bits may hold in fact
_ICC_WHITE = 0xFF00  # L* 100 in ICC's 16-bit encoding of version 2


@dataclass(frozen=True)
class Range:
    """The lowest and the highest level as samples; which of the two is black is decided elsewhere."""

    black: float
    white: float


def read_grey(file: WatchedFile, ifd: ImageFileDirectory_v2, layout: tiff.Layout) -> Levels:
    """Grey levels `(h, w)`, black is zero; transparency lies on white. uint8 for up to 8 bits, else uint16.

    Raises:
        PhotoError: the white level can't be known, or the samples can't be read.
    """
    levels = _read_levels(file, ifd, layout, np.uint8 if layout.bits <= 8 else np.uint16)
    negative = layout.photometric == tiff.WHITE_IS_ZERO
    grey = levels[..., 0]
    if negative and not (layout.is_premultiplied and layout.alpha is not None):
        grey = ~grey
    if layout.alpha is None:
        return cast(Levels, np.ascontiguousarray(grey))
    if negative and layout.is_premultiplied:
        return ~grey  # ink that was multiplied by its opacity, on white paper
    return on_white(grey[..., None], levels[..., 1:], layout.is_premultiplied)[..., 0]


def read_colours(file: WatchedFile, ifd: ImageFileDirectory_v2, layout: tiff.Layout) -> NDArray[np.uint8]:
    """RGB `(h, w, 3)` or CMYK `(h, w, 4)` in 8 bits; transparency lies on white.

    Raises:
        PhotoError: see `read_grey`.
    """
    levels = _read_levels(file, ifd, layout, np.uint8)
    if layout.alpha is None or layout.photometric == tiff.CMYK:
        return np.ascontiguousarray(levels[..., : layout.colours]).astype(np.uint8, copy=False)
    return on_white(levels[..., :3], levels[..., 3:], layout.is_premultiplied).astype(np.uint8, copy=False)


def read_lab(
    file: WatchedFile, ifd: ImageFileDirectory_v2, layout: tiff.Layout
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """L* `(h, w)` in [0, 100] and a*, b* `(h, w, 2)`; None for those of a picture without colours.

    CIELab as TIFF 6.0 has it, ICCLab as Adobe's TIFF technical notes have it: of 16 bits, L* 100 is 65535
    there and 65280 here; a* and b* are signed there and around the middle here.

    Raises:
        PhotoError: not 8 or 16 bits a sample, or the samples can't be read.
    """
    if layout.bits not in (8, 16) or layout.kind == "float" or layout.alpha is not None:
        raise PhotoError("TIFF of L*a*b* in a kind that is not read: save it with 8 or 16 bits and no alpha")
    icc = layout.photometric == tiff.ICCLAB
    white = _ICC_WHITE if icc and layout.bits == 16 else (1 << layout.bits) - 1
    unit = np.float32(1 << (layout.bits - 8))
    lightness = np.zeros((layout.height, layout.width), np.float32)
    colours = np.zeros((layout.height, layout.width, 2), np.float32)
    for top, left, channels, block in read_samples(file, ifd, layout):
        place = (slice(top, top + block.shape[0]), slice(left, left + block.shape[1]))
        unsigned = block.view(f"u{block.dtype.itemsize}")
        for index, channel in enumerate(range(channels.start, min(channels.stop, 3))):
            values = unsigned[..., index]
            if channel == 0:
                lightness[place] = np.minimum(values * np.float32(100 / white), 100)
            elif icc:
                colours[(*place, channel - 1)] = values / unit - 128
            else:
                colours[(*place, channel - 1)] = values.view(f"i{values.dtype.itemsize}") / unit
    return lightness, colours if colours.any() else None


def _read_levels(
    file: WatchedFile, ifd: ImageFileDirectory_v2, layout: tiff.Layout, dtype: type[np.uint8 | np.uint16]
) -> Levels:
    """The levels `(h, w, n)` of the colours and, behind them, of transparency; the file's zero is zero."""
    wanted = [*range(layout.colours), *([] if layout.alpha is None else [layout.alpha])]
    scale = _range(file, ifd, layout)
    levels = np.zeros((layout.height, layout.width, len(wanted)), dtype)
    most = 255 if dtype is np.uint8 else 65535
    low, high = np.inf, -np.inf
    for top, left, channels, block in read_samples(file, ifd, layout):
        for index, channel in enumerate(range(channels.start, channels.stop)):
            if channel not in wanted:
                continue
            values = block[..., index]
            if layout.kind == "float":
                least, largest = float(values.min()), float(values.max())
                if not (np.isfinite(least) and np.isfinite(largest)):
                    raise PhotoError(f"{_kind(layout)} that are not all finite have no known white")
                low, high = min(low, least), max(high, largest)
            place = (
                slice(top, top + block.shape[0]),
                slice(left, left + block.shape[1]),
                wanted.index(channel),
            )
            levels[place] = _scaled(values, scale, most)
    if layout.kind == "float":
        slack = _TOLERANCE * (scale.white - scale.black)
        if low < scale.black - slack or high > scale.white + slack:
            raise _unknown_white(layout, low, high)
    return cast(Levels, levels)


def _scaled(values: Block, scale: Range, most: int) -> Block:
    """Values as integers from 0 to `most`."""
    if values.dtype.kind == "u" and scale == Range(0, most):
        return values
    share = (values.astype(np.float64) - scale.black) * (most / (scale.white - scale.black))
    return np.rint(np.clip(share, 0, most))


def _range(file: WatchedFile, ifd: ImageFileDirectory_v2, layout: tiff.Layout) -> Range:
    """Find the samples that mean black and white.

    Raises:
        PhotoError: the file does not make them clear.
    """
    stated = _stated_range(layout)
    plain = layout.kind == "unsigned" and layout.bits <= 16
    if layout.kind == "float":
        return stated or Range(0, 1)
    highest = (1 << (layout.bits - (layout.kind == "signed"))) - 1
    if plain and stated is None:
        return Range(0, highest)
    low, high = _found_range(file, ifd, layout)
    if stated is not None and stated.black <= low and high <= stated.white:
        return stated
    if plain:
        return Range(0, highest)
    if low >= 0:
        widths = [*(bits for bits in _BITS_OF_A_SCAN if layout.bits > bits), layout.bits]
        for white in [(1 << bits) - 1 for bits in widths[:-1]] + [highest]:
            if white // 2 < high <= white:
                return Range(0, white)
    raise _unknown_white(layout, low, high)


def _stated_range(layout: tiff.Layout) -> Range | None:
    """The range that SMin- and SMaxSampleValue state, if it holds for such samples, not just one picture.

    Integers of few bits have a defined white. Some programs store the extremes of the picture in these tags.
    So for integers the tags count only if the maximum is the highest number of fewer bits, as for 12-bit
    scans in 16 bits.
    """
    if layout.white is None or not np.isfinite(layout.white):
        return None
    black = layout.black if layout.black is not None and np.isfinite(layout.black) else 0
    if layout.white <= black:
        return None
    if layout.kind != "float" and layout.bits <= 16:
        bits = int(layout.white + 1).bit_length() - 1
        highest = (1 << (layout.bits - (layout.kind == "signed"))) - 1
        if black != 0 or bits < 8 or layout.white + 1 != 1 << bits or layout.white > highest:
            return None
    return Range(black, layout.white)


def _found_range(file: WatchedFile, ifd: ImageFileDirectory_v2, layout: tiff.Layout) -> tuple[float, float]:
    low, high = np.inf, -np.inf
    for _, _, channels, block in read_samples(file, ifd, layout):
        for index, channel in enumerate(range(channels.start, channels.stop)):
            if channel < layout.colours:
                low, high = min(low, int(block[..., index].min())), max(high, int(block[..., index].max()))
    return low, high


def _unknown_white(layout: tiff.Layout, low: float, high: float) -> PhotoError:
    return PhotoError(
        f"{_kind(layout)} from {low:g} to {high:g} have no known white: "
        "save it with 16 bits, or as floats from 0 to 1"
    )


def _kind(layout: tiff.Layout) -> str:
    names = {"unsigned": "integers", "signed": "signed integers", "float": "floating numbers"}
    return f"{layout.bits}-bit {names[layout.kind]}"
