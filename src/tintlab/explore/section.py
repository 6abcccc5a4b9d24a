"""The result of an exploration: words, tables, pictures and figures, saved for the page of all results."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from pydantic import BaseModel, ConfigDict

from tintlab.system import console, paths
from tintlab.system.files import atomic_path, read_json, write_json

_FILE = "section.json"


class Table(BaseModel):
    """Rows of texts below a caption."""

    model_config = ConfigDict(frozen=True)

    caption: str
    columns: list[str]
    rows: list[list[str]]

    def text(self) -> str:
        """The table for a terminal."""
        lines = console.aligned([self.columns, *self.rows], right=range(1, len(self.columns)))
        return "\n".join([self.caption, *lines])


class Section(BaseModel):
    """The result of one exploration.

    Attributes:
        title: heading.
        command: that produces it.
        words: paragraphs.
        tables: in order.
        pictures: file names in the section's folder, by caption.
        figures: numbers for MLflow, by name.
    """

    model_config = ConfigDict(frozen=True)

    title: str
    command: str
    words: list[str]
    tables: list[Table] = []
    pictures: dict[str, str] = {}
    figures: dict[str, float] = {}

    def text(self) -> str:
        """The section for a terminal, without its pictures."""
        return "\n\n".join([self.title, *self.words, *(table.text() for table in self.tables)])


def folder(weights_sha256: str, name: str) -> Path:
    """The folder of a model's section of this name."""
    return paths.explored_model(weights_sha256) / name


def save_section(place: Path, section: Section, pictures: Sequence[Image.Image]) -> None:
    """Write a section and its pictures, which come in the order of `section.pictures`."""
    for name, picture in zip(section.pictures.values(), pictures, strict=True):
        save_picture(place / name, picture)
    write_json(place / _FILE, section.model_dump())


def load_section(place: Path) -> Section | None:
    """Read a saved section; None if there is none."""
    return Section.model_validate(read_json(place / _FILE)) if (place / _FILE).exists() else None


def copy_pictures(weights_sha256: str, names: Sequence[str], target: Path) -> None:
    """Copy the pictures of saved sections into one folder."""
    for name in names:
        place = folder(weights_sha256, name)
        found = load_section(place)
        for picture in found.pictures.values() if found else ():
            with atomic_path(target / picture) as temporary:
                shutil.copyfile(place / picture, temporary)


def save_picture(path: Path, picture: Image.Image, quality: int = 75) -> None:
    """Write a picture atomically: photographs as JPEG, drawings as PNG, by the suffix."""
    with atomic_path(path) as temporary:
        if path.suffix == ".png":
            picture.save(temporary, "PNG", optimize=True)
        else:
            picture.save(temporary, "JPEG", quality=quality, subsampling=0, optimize=True)
