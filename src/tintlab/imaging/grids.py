"""Make pictures for people from arrays of pixels: labelled contact sheets, thumbnails, images inside a page."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tintlab.imaging.color import Byte

_GAP = 4
_TITLE = 24
_BACKGROUND = (24, 24, 27)
_INK = (228, 228, 231)


def draw_grid(rows: Sequence[Sequence[Byte]], side: int, titles: Sequence[str]) -> Image.Image:
    """A contact sheet: one row of pictures below another, with titles over the columns.

    Every picture is reduced or enlarged until its long side has `side` pixels, and centred in its cell; a row
    is as high as its highest picture.

    Args:
        rows: sRGB pictures `(h, w, 3)` uint8 of any size, as many in each row as there are titles.
        side: width of a column in pixels.
        titles: a word or two per column; no title line if all are empty.
    """
    fitted = [[_fit(Image.fromarray(pixels), side) for pixels in row] for row in rows]
    heights = [max(picture.height for picture in row) for row in fitted]
    top = _TITLE + _GAP if any(titles) else _GAP
    step = side + _GAP
    sheet = Image.new("RGB", (len(titles) * step + _GAP, top + sum(heights) + _GAP * len(rows)), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=14)
    for column, title in enumerate(titles):
        draw.text((_GAP + column * step + side / 2, top / 2), title, fill=_INK, font=font, anchor="mm")
    for row, height in zip(fitted, heights, strict=True):
        for column, (picture, _) in enumerate(zip(row, titles, strict=True)):
            left = _GAP + column * step + (side - picture.width) // 2
            sheet.paste(picture, (left, top + (height - picture.height) // 2))
        top += height + _GAP
    return sheet


def make_thumbnail(pixels: Byte, side: int) -> Byte:
    """The picture `(h, w, 3)` reduced to fit a square of `side` pixels; a smaller one stays as it is."""
    image = Image.fromarray(pixels)
    return pixels if max(image.size) <= side else np.asarray(_fit(image, side))


def to_data_uri(pixels: Byte, quality: int = 90) -> str:
    """The picture `(h, w, 3)` as a `data:` URI: JPEG without chroma subsampling, because colour matters here."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=0, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _fit(image: Image.Image, side: int) -> Image.Image:
    factor = side / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
