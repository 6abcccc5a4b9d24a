"""Grey pictures of every kind of sample, profile and container, and what their L* is by the standards.

`python -m tests.imaging.matrix` reads them all and prints the counts; with `table`, the table in docs/scoring.md.
The arithmetic is of the standards and none of the project's: ICC.1:2010 (grey profiles), IEC 61966-2-1 (sRGB),
CIE 15:2004 (L*), TIFF 6.0, ISO/IEC 15948 (PNG), Netpbm's formats.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ImageCms

from tests.imaging import making
from tintlab.imaging.photos import PhotoError, read_photo

Float = NDArray[np.float64]
TOLERANCE = 0.5
WIDTH, HEIGHT = 64, 24
JPEG_2000 = Path(__file__).with_name("jpeg2000")  # ramps of `_share`, written by imagecodecs, lossless


@dataclass(frozen=True)
class Kind:
    """A kind of sample: `u`, `i` or `f`, and its bits."""

    letter: str
    bits: int

    @property
    def name(self) -> str:
        """In words."""
        return {"u": "unsigned", "i": "signed", "f": "float"}[self.letter] + f" {self.bits}"

    @property
    def white(self) -> float:
        """The sample of white, black being zero."""
        return 1.0 if self.letter == "f" else float(2 ** (self.bits - (self.letter == "i")) - 1)

    def samples(self, share: Float) -> making.Samples:
        """The samples nearest to shares of white."""
        if self.letter == "f":
            return share.astype(f"f{self.bits // 8}")
        size = next(size for size in (1, 2, 4) if self.bits <= 8 * size)
        return np.rint(share * self.white).astype(f"{self.letter}{size}")


KINDS = [Kind("u", bits) for bits in (1, 2, 4, 8, 10, 12, 14, 16, 32)]
KINDS += [Kind("i", bits) for bits in (8, 16, 32)] + [Kind("f", bits) for bits in (16, 32, 64)]

_DOT_GAIN = np.linspace(0, 1, 256)
# Murray-Davies: paper that a share of 1 - v is inked on, and its ink spreads by 20 % at a half.
_DOT_GAIN = 1 - np.minimum((1 - _DOT_GAIN) + 0.8 * (1 - _DOT_GAIN) * _DOT_GAIN, 1) * (1 - 0.01)
_DOT_GAIN = (_DOT_GAIN - _DOT_GAIN[0]) / (_DOT_GAIN[-1] - _DOT_GAIN[0])
_LAB_GAMMA = 1.25


def _grey_profile(connection: bytes, content: bytes) -> bytes:
    return making.icc_profile(b"GRAY", connection, {b"kTRC": content})


PROFILES: dict[str, bytes] = {
    "none": b"",
    "sRGB": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    "gamma 1.8": _grey_profile(b"XYZ ", making.curve(1.8)),
    "gamma 2.2": _grey_profile(b"XYZ ", making.curve(2.2)),
    "dot gain": _grey_profile(b"XYZ ", making.curve(*_DOT_GAIN)),
    "Lab": _grey_profile(b"Lab ", making.curve(_LAB_GAMMA)),
}


def expected_lightness(value: Float, profile: str) -> Float:
    """L* of grey values in [0, 1] under a profile."""
    if profile == "Lab":
        return 100 * value ** (round(_LAB_GAMMA * 256) / 256)
    if profile == "dot gain":
        light = np.interp(value, np.linspace(0, 1, 256), np.round(_DOT_GAIN * 65535) / 65535)
    elif profile.startswith("gamma"):
        light = value ** (round(float(profile.split()[1]) * 256) / 256)
    else:
        light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.where(light > (6 / 29) ** 3, 116 * np.cbrt(light) - 16, light * (29 / 3) ** 3)


@dataclass(frozen=True)
class Case:
    """One cell: samples of a kind, white or black being zero, with a profile."""

    kind: Kind
    negative: bool
    profile: str

    @property
    def samples(self) -> making.Samples:
        """The ramp `(h, w)` as it is stored."""
        share = _share()
        return self.kind.samples(1 - share if self.negative else share)

    @property
    def lightness(self) -> Float:
        """L* `(h, w)` of what is stored."""
        value = self.samples.astype(np.float64) / self.kind.white
        return expected_lightness(1 - value if self.negative else value, self.profile)

    @property
    def icc(self) -> bytes:
        """The profile's bytes."""
        return PROFILES[self.profile]


def _share() -> Float:
    across, down = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    return ((across + 7 * down) % WIDTH) / (WIDTH - 1)


def _tiff(case: Case, big: bool = False, alpha: int = 0, **options: object) -> bytes | None:
    if options.get("compression") == "group 4" and (case.kind != Kind("u", 1)):
        return None
    if options.get("predictor") == 2 and case.kind.bits not in (8, 16, 32, 64):
        return None
    if options.get("predictor") == 3 and case.kind.letter != "f":
        return None
    samples = case.samples
    more: making.Tags = {34675: ("B", case.icc)} if case.icc else {}
    if alpha:
        opaque = np.full_like(samples, case.kind.white)
        samples = np.stack([samples, opaque], axis=-1)
        more[338] = ("H", [alpha])
    page = making.grey_page(
        samples,
        case.kind.bits,
        photometric=0 if case.negative else 1,
        more=more,
        **options,  # type: ignore[arg-type]
    )
    return making.tiff_of([page], str(options.get("order", "<")), big)


def _png(case: Case, alpha: bool = False) -> bytes | None:
    """Samples of 10 to 14 bits as PNG has them: scaled to 16, with their number in sBIT."""
    bits = case.kind.bits
    if case.kind.letter != "u" or case.negative or bits > 16 or (alpha and bits < 8):
        return None
    samples, chunks = case.samples, [making.png_profile(case.icc)] if case.icc else []
    depth = bits if bits <= 8 else 16
    if depth != bits:
        samples = np.rint(samples * (65535 / case.kind.white)).astype(np.uint16)
        chunks.append((b"sBIT", bytes([bits, 16] if alpha else [bits])))
    if alpha:
        samples = np.stack([samples, np.full_like(samples, 2**depth - 1)], axis=-1)
    return making.png_of(samples, depth, *chunks)


def _png_palette(case: Case) -> bytes | None:
    if case.kind.letter != "u" or case.kind.bits > 8:
        return None
    values = np.rint(np.arange(2**case.kind.bits) * (255 / case.kind.white)).astype(np.uint8)
    values = values[::-1] if case.negative else values
    chunks = [making.png_profile(case.icc)] if case.icc else []
    palette = (b"PLTE", values.repeat(3).tobytes())
    return making.png_of(case.samples, case.kind.bits, *chunks, palette, colour_type=3)


def _pgm(case: Case) -> bytes | None:
    """PGM, and PBM where white is zero."""
    kind = case.kind
    if case.icc or kind.letter != "u" or kind.bits > 16 or (case.negative and kind.bits > 1):
        return None
    if case.negative:
        return b"P4 %d %d\n" % (WIDTH, HEIGHT) + b"".join(making.pack(case.samples, 1))
    data = case.samples.astype(">u2" if kind.bits > 8 else "u1").tobytes()
    return b"P5 %d %d %d\n" % (WIDTH, HEIGHT, int(kind.white)) + data


def _jpeg2000(case: Case) -> bytes | None:
    if case.kind.letter != "u" or case.kind.bits > 16 or (case.negative and (case.kind.bits > 1 or case.icc)):
        return None
    stream = (JPEG_2000 / f"{case.kind.bits}{'-negative' if case.negative else ''}.j2k").read_bytes()
    colour = b"\2\0\0" + case.icc if case.icc else b"\1\0\0" + (0 if case.negative else 17).to_bytes(4, "big")
    return making.jp2_of(stream, WIDTH, HEIGHT, case.kind.bits, colour)


CONTAINERS: dict[str, Callable[[Case], bytes | None]] = {
    "TIFF": _tiff,
    "TIFF tiled": lambda case: _tiff(case, tile=16),
    "TIFF LZW": lambda case: _tiff(case, compression="LZW"),
    "TIFF deflate": lambda case: _tiff(case, compression="deflate"),
    "TIFF PackBits": lambda case: _tiff(case, compression="PackBits"),
    "TIFF group 4": lambda case: _tiff(case, compression="group 4"),
    "TIFF predictor": lambda case: _tiff(
        case, compression="LZW", predictor=3 if case.kind.letter == "f" else 2, tile=16
    ),
    "TIFF big-endian": lambda case: _tiff(case, order=">"),
    "TIFF big-endian, predictor": lambda case: _tiff(case, order=">", compression="deflate", predictor=2),
    "BigTIFF": lambda case: _tiff(case, big=True, compression="LZW"),
    "TIFF alpha": lambda case: _tiff(case, alpha=2),
    "TIFF premultiplied alpha": lambda case: _tiff(case, alpha=1, compression="LZW"),
    "TIFF alpha, planes": lambda case: _tiff(case, alpha=2, planar=True, tile=16),
    "PNG": _png,
    "PNG alpha": lambda case: _png(case, alpha=True),
    "PNG palette": _png_palette,
    "PGM": _pgm,
    "JPEG 2000": _jpeg2000,
}


@dataclass(frozen=True)
class Cell:
    """What became of one file: `read`, `refused` or `wrong`; `none` where there is no such file."""

    container: str
    case: Case
    outcome: str
    detail: str = ""


def cells(wanted: Callable[[int], bool] = lambda number: True) -> Iterator[Cell]:
    """Try the files whose number is wanted."""
    number = 0
    for kind in KINDS:
        for negative in (False, True):
            for profile in PROFILES:
                for container in CONTAINERS:
                    number += 1
                    if wanted(number):
                        yield _tried(container, Case(kind, negative, profile))


def _tried(container: str, case: Case) -> Cell:
    data = CONTAINERS[container](case)
    if data is None:
        return Cell(container, case, "none")
    try:
        photo = read_photo(data, 1)
    except PhotoError as error:
        return Cell(container, case, "refused", str(error))
    off = np.abs(photo.lightness() - case.lightness).max()
    bits = str(8 * photo.pixels.itemsize)
    return (
        Cell(container, case, "read", bits)
        if off <= TOLERANCE
        else Cell(container, case, "wrong", f"{off:.2f}")
    )


def table(found: list[Cell]) -> str:
    """A row a kind of sample, a column a container: the bits of grey that are read."""
    lines = ["| samples | " + " | ".join(CONTAINERS) + " |", "|---" * (len(CONTAINERS) + 1) + "|"]
    for kind in KINDS:
        row = [kind.name]
        for container in CONTAINERS:
            here = [cell for cell in found if cell.container == container and cell.case.kind == kind]
            outcomes = {cell.outcome for cell in here} - {"none"}
            depths = sorted({cell.detail for cell in here if cell.outcome == "read"})
            row.append("–" if not outcomes else ", ".join([*depths, *sorted(outcomes - {"read"})]))
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def main() -> None:
    """See the module."""
    found = list(cells())
    counts = Counter(cell.outcome for cell in found)
    if sys.argv[1:] == ["table"]:
        print(table(found))
        return
    print(
        f"{len(found)} cells: {counts['read']} read, {counts['refused']} refused, {counts['wrong']} wrong, "
        f"{counts['none']} that no file can be"
    )
    for cell in found:
        if cell.outcome in ("wrong", "refused"):
            print(
                f"{cell.outcome}: {cell.container}, {cell.case.kind.name}, negative {cell.case.negative}, "
                f"{cell.case.profile}: {cell.detail}"
            )


if __name__ == "__main__":
    main()
