"""The pages of a TIFF file: which one is the photograph, and how many more there are.

Pillow's reader of directories finds the values; it bounds the data that a hostile directory can ask for.
"""

import struct
from collections.abc import Iterator
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
_REDUCED, _NO_PICTURE = 1, 4 | 8  # bits of NewSubfileType: a mask, a depth map
_SAME_SHAPE = 0.02
_MOST_IFDS = 20_000


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


@dataclass(frozen=True)
class Choice:
    """The page that is read.

    Attributes:
        offset: of its directory.
        first: offset of the file's first directory.
        more: pages beside it that are photographs of their own.
        is_inner: whether it lies behind a preview, whose orientation and metadata are its own too.
        is_only_reduced: whether the file has nothing but smaller copies of a picture that is elsewhere.
    """

    offset: int
    first: int
    more: int
    is_inner: bool
    is_only_reduced: bool


def choose_page(file: WatchedFile) -> Choice:
    """Find the photograph among a file's pages.

    Raises:
        PhotoError: there is none, or the file is a camera's raw file.
    """
    pages = list(_pages(file))
    if not pages:
        raise PhotoError("broken picture data (no page can be found)")
    _refuse_raw(pages)
    chain = [page for page in pages if not page.parent and page.is_picture]
    inner = [page for page in pages if page.parent and page.is_picture and not page.reduced]
    full = [page for page in chain if not page.reduced]
    first = pages[0].offset
    if not full and inner:
        chosen = max(inner, key=_area)
        others = [page for page in inner if page.parent != chosen.parent and not _is_preview(page, chosen)]
        return Choice(chosen.offset, first, len(others), True, False)
    if not full:
        if not chain:
            raise PhotoError("it has masks and no picture")
        return Choice(max(chain, key=_area).offset, first, 0, False, True)
    chosen = max((page for page in full + inner if _is_preview(full[0], page)), key=_area, default=full[0])
    others = [page for page in full + inner if page is not chosen and not _is_preview(page, chosen)]
    is_inner = chosen.offset != first and pages[0].offset not in {page.offset for page in others}
    return Choice(chosen.offset, first, len(others), is_inner, False)


def _pages(file: WatchedFile) -> Iterator[Page]:
    file.seek(0)
    header = file.read(16)
    if header.startswith(b"MM\0+"):
        raise PhotoError("BigTIFF in big-endian order, which is not read: save it as plain TIFF")
    header = header if header[2:3] == b"+" else header[:8]
    most_read = file.bytes_read + 4 * file.size() + (1 << 20)
    ifd = ImageFileDirectory_v2(header)
    waiting: list[tuple[int, int]] = [(ifd.next, 0)]
    seen: set[int] = set()
    while waiting:
        offset, parent = waiting.pop()
        if offset in seen or not 0 < offset < file.size():
            continue
        seen.add(offset)
        ifd = ImageFileDirectory_v2(header)
        file.seek(offset)
        ifd.load(file)  # type: ignore[arg-type]
        if file.bytes_read > most_read or len(seen) > _MOST_IFDS:
            raise PhotoError("its pages claim more data than the file has, as bombs do")
        page = _page(ifd, offset, parent)
        yield page
        if not parent and ifd.next:
            waiting.append((ifd.next, 0))
        waiting += [(sub, offset) for sub in reversed(page.sub_ifds)]


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
    )


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
        raise PhotoError(f"{name}, which is not read: develop it and save it as TIFF or JPEG")


def _area(page: Page) -> int:
    return page.width * page.height


def _is_preview(page: Page, of: Page) -> bool:
    """Whether a page that is not marked has the shape of a larger one, and at most half its sides."""
    if page.reduced is not None or 2 * page.width > of.width or 2 * page.height > of.height:
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
