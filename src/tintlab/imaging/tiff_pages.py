"""The pages of a TIFF file: which of them are photographs.

Pillow's reader of directories finds the values; it bounds the data that a hostile directory can ask for.
"""

import struct
from dataclasses import dataclass
from typing import BinaryIO, cast

from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from tintlab.imaging import tiff
from tintlab.imaging.guards import PatchedFile, PhotoError, WatchedFile
from tintlab.imaging.tiff import number, numbers

_CFA_PATTERN, _ICC, _DNG_VERSION = 33422, 34675, 50706
_CFA, _LINEAR_RAW = 32803, 34892
# Of Sony, Epson, Samsung, Kodak, Nikon and Pentax.
_RAW_COMPRESSIONS = {32767, 32769, 32770, 32867, 34713, 34892, 65000, 65535}
_JPEG_OFFSET, _JPEG_BYTES = 513, 514
_JPEG_COMPRESSIONS = (6, 7)
_REDUCED, _NO_PICTURE = 1, 4 | 8  # bits of NewSubfileType: a mask, a depth map
_SAME_SHAPE = 0.02
_LARGEST_PREVIEW = 1024  # pixels of the longer side of one that is not marked
_MOST_IFDS = 20_000
_MOST_PHOTOGRAPHS = 1000


class CameraRawError(PhotoError):
    """A camera's raw file; the message is its name."""


@dataclass(frozen=True)
class Page:
    """One image file directory.

    Attributes:
        offset: of the directory.
        width: of the picture in pixels; 0 where that is not said, as `height`.
        height: see `width`.
        reduced: whether the file says that it is a smaller copy of another page; None where it says nothing.
        is_picture: whether it is one at all, and no mask or depth map.
        samples: a pixel.
        bits: a sample.
        raw: evidence of a camera raw file, or empty.
        maker: of the camera.
        parent: the offset of the directory that this one belongs to; 0 for those of the chain.
        sub_ifds: offsets of those that belong to it.
        jpeg: offset and bytes of JPEG data that lie in one piece; zeros without.
    """

    offset: int
    width: int
    height: int
    reduced: bool | None
    is_picture: bool
    samples: int
    bits: int
    raw: bool
    maker: str
    parent: int
    sub_ifds: tuple[int, ...]
    jpeg: tuple[int, int]


@dataclass(frozen=True)
class Photograph:
    """A page that is a photograph.

    Attributes:
        offset: of its directory.
        outer: offset of the directory of its preview, whose orientation and metadata are its own too; 0 without.
        is_only_reduced: whether it is a smaller copy of a picture that the file lacks.
    """

    offset: int
    outer: int = 0
    is_only_reduced: bool = False


@dataclass(frozen=True)
class Album:
    """The photographs of a file, in its own order.

    Attributes:
        photographs: at least one.
        breaks_off: whether the chain of pages leads to a place where none is, as in a file that is cut short.
    """

    photographs: tuple[Photograph, ...]
    breaks_off: bool

    @property
    def count(self) -> int:
        """How many there are; of several, with one that the chain names and that is not there."""
        return len(self.photographs) + (self.breaks_off and len(self.photographs) > 1)

    def take(self, page: int) -> Photograph:
        """The photograph of this number, from 1.

        Raises:
            PhotoError: the file has no such page, or it is beyond the file's end.
        """
        if page > len(self.photographs):
            raise PhotoError("it is not where the file says: the file is cut short or damaged")
        return self.photographs[page - 1]


def find_photographs(file: WatchedFile) -> Album:
    """Find the photographs among a file's pages: previews, smaller copies and masks are none.

    Raises:
        PhotoError: there is none, there are too many, or the file is a camera's raw file (`CameraRawError`).
    """
    pages, breaks_off = _read_pages(file)
    if not pages:
        raise PhotoError("broken picture data (no page can be found)")
    _refuse_raw(pages)
    chain = [page for page in pages if not page.parent and page.is_picture]
    inner: dict[int, list[Page]] = {}
    for page in pages:
        if page.parent and page.is_picture and not page.reduced:
            inner.setdefault(page.parent, []).append(page)
    found = list(filter(None, (_photograph(page, inner.get(page.offset, [])) for page in chain)))
    if len(found) > _MOST_PHOTOGRAPHS:
        raise PhotoError(f"{len(found)} pages, more than {_MOST_PHOTOGRAPHS}: split the file")
    shown = [page for page, _ in found]
    found = [
        one
        for place, one in enumerate(found)
        if not any(_is_preview(one[0], beside) for beside in shown[max(0, place - 1) : place + 2])
    ]
    if not found:
        if not chain:
            raise PhotoError("it has masks and no picture")
        return Album((Photograph(max(chain, key=_area).offset, 0, True),), breaks_off)
    first = pages[0].offset
    is_preview = all(first != page.offset for page, _ in found)
    photographs = [Photograph(page.offset, outer) for page, outer in found]
    if is_preview and not photographs[0].outer:
        photographs[0] = Photograph(photographs[0].offset, first)
    return Album(tuple(photographs), breaks_off)


def _photograph(page: Page, inner: list[Page]) -> tuple[Page, int] | None:
    """The page itself; or the largest of its inner pages, where it is a preview of that, and its own offset."""
    largest = max(inner, key=_area, default=None)
    if largest is not None and (page.reduced or _is_preview(page, largest)):
        return largest, page.offset
    return None if page.reduced else (page, 0)


def _read_pages(file: WatchedFile) -> tuple[list[Page], bool]:
    """All pages, and whether their chain breaks off."""
    file.seek(0)
    header = file.read(16)
    if header.startswith(b"MM\0+"):
        raise PhotoError("BigTIFF in big-endian order, which is not read: save it as plain TIFF")
    header = header if header[2:3] == b"+" else header[:8]
    most_read = file.bytes_read + 4 * file.size() + (1 << 20)
    ifd = ImageFileDirectory_v2(header)
    waiting: list[tuple[int, int]] = [(ifd.next, 0)]
    pages: list[Page] = []
    seen: set[int] = set()
    breaks_off = False
    while waiting:
        offset, parent = waiting.pop()
        if offset in seen:
            continue
        if not 0 < offset < file.size():
            breaks_off |= not parent
            continue
        seen.add(offset)
        ifd = ImageFileDirectory_v2(header)
        file.seek(offset)
        ifd.load(file)  # type: ignore[arg-type]
        if file.bytes_read > most_read or len(seen) > _MOST_IFDS:
            raise PhotoError("its pages claim more data than the file has, as bombs do")
        page = _page(ifd, offset, parent)
        pages.append(page)
        breaks_off |= not parent and page.width < 1
        if not parent and ifd.next:
            waiting.append((ifd.next, 0))
        waiting += [(sub, offset) for sub in reversed(page.sub_ifds)]
    return pages, breaks_off


def _page(ifd: ImageFileDirectory_v2, offset: int, parent: int) -> Page:
    kind, old_kind = number(ifd, tiff.SUBFILE, -1), number(ifd, tiff.OLD_SUBFILE, -1)
    reduced = None if kind < 0 and old_kind < 0 else old_kind == 2 if kind < 0 else bool(kind & _REDUCED)
    photometric = number(ifd, tiff.PHOTOMETRIC, -1)
    raw = (
        photometric in (_CFA, _LINEAR_RAW)
        or number(ifd, tiff.COMPRESSION, 1) in _RAW_COMPRESSIONS
        or _DNG_VERSION in ifd
        or _CFA_PATTERN in ifd
    )
    maker = ifd.get(tiff.MAKE)
    width, height = number(ifd, tiff.WIDTH, 0), number(ifd, tiff.HEIGHT, 0)
    return Page(
        offset,
        width,
        height,
        reduced,
        not (kind > 0 and kind & _NO_PICTURE) and photometric not in (tiff.MASK, 51177, 52527) and width > 0,
        number(ifd, tiff.SAMPLES, 1),
        number(ifd, tiff.BITS, 1),
        raw,
        maker.strip("\0 ") if isinstance(maker, str) else "",
        parent,
        tuple(int(sub) for sub in numbers(ifd, tiff.SUB_IFDS) if 0 < sub < 2**63),
        _jpeg_of(ifd),
    )


def _jpeg_of(ifd: ImageFileDirectory_v2) -> tuple[int, int]:
    found = number(ifd, _JPEG_OFFSET, 0), number(ifd, _JPEG_BYTES, 0)
    if all(found) or number(ifd, tiff.COMPRESSION, 1) not in _JPEG_COMPRESSIONS:
        return found
    offsets, sizes = numbers(ifd, tiff.STRIP_OFFSETS), numbers(ifd, tiff.STRIP_SIZES)
    return (int(offsets[0]), int(sizes[0])) if len(offsets) == len(sizes) == 1 else (0, 0)


def _refuse_raw(pages: list[Page]) -> None:
    first = pages[0]
    # A colour preview of a picture with one deep sample a pixel: the mosaic of a camera's sensor.
    mosaic = (
        first.reduced
        and first.samples == 3
        and any(
            page.parent and page.samples == 1 and page.bits > 8 and _area(page) > _area(first)
            for page in pages
        )
    )
    if mosaic or any(page.raw for page in pages):
        maker = next((page.maker for page in pages if page.maker.isprintable() and page.maker), "")
        name = f"camera raw ({maker[:40]})" if maker else "camera raw (DNG or the like)"
        raise CameraRawError(name)


@dataclass(frozen=True)
class Jpegs:
    """JPEG data in a camera's raw file.

    Attributes:
        places: offset and bytes of each.
        sensor_pixels: of the largest page of the sensor's own data; 0 where that is not said.
        first: offset of the first directory.
    """

    places: tuple[tuple[int, int], ...]
    sensor_pixels: int
    first: int


def find_jpegs(file: WatchedFile) -> Jpegs:
    """Find the JPEG data that the pages of a camera's raw file refer to.

    Raises:
        PhotoError: see `find_photographs`.
    """
    pages, _ = _read_pages(file)
    places = tuple(page.jpeg for page in pages if all(page.jpeg))
    # Of a mosaic, the page itself is marked, or is the largest.
    sensor = max((_area(page) for page in pages if page.raw or not page.reduced), default=0)
    return Jpegs(places, sensor, pages[0].offset if pages else 0)


def _area(page: Page) -> int:
    return page.width * page.height


def _is_preview(page: Page, of: Page) -> bool:
    """Whether a page that is not marked is small, has the shape of a larger one, and at most half its sides."""
    if page.reduced is not None or max(page.width, page.height) > _LARGEST_PREVIEW:
        return False
    if 2 * page.width > of.width or 2 * page.height > of.height:
        return False
    across, down = of.width / max(page.width, 1), of.height / max(page.height, 1)
    return abs(across / down - 1) < _SAME_SHAPE + 1 / max(1, min(page.width, page.height))


def page_file(file: WatchedFile, offset: int) -> PatchedFile:
    """The file with another page as its first, for readers of first pages."""
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    if head[2:3] == b"+":
        return PatchedFile(file, head[:8] + struct.pack(f"{order}Q", offset))
    return PatchedFile(file, head[:4] + struct.pack(f"{order}I", offset))


class TaggedPage(TiffImageFile):
    """A page as Pillow's object with its tags, metadata and profile, whatever its samples are; without pixels."""

    def __init__(self, page: PatchedFile) -> None:
        super().__init__(cast(BinaryIO, page))

    def _setup(self) -> None:
        self._mode, self._size, self.tile = "L", (1, 1), []
        self._tile_size = self._size
        across, down = numbers(self.tag_v2, tiff.X_RESOLUTION), numbers(self.tag_v2, tiff.Y_RESOLUTION)
        unit = number(self.tag_v2, tiff.RESOLUTION_UNIT, 2)
        if across and down and unit in (2, 3):
            scale = 1.0 if unit == 2 else 2.54
            self.info["dpi"] = (across[0] * scale, down[0] * scale)
        if _ICC in self.tag_v2:
            self.info["icc_profile"] = self.tag_v2[_ICC]
