"""Many photographs at once: a folder tree in, the same tree in colour out; bad files are passed over."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from tintlab import program
from tintlab.colorizer import Colorizer
from tintlab.errors import TintlabError
from tintlab.photos import PhotoError, read_photo
from tintlab.storage import atomic_path

SUFFIX = ".png"


@dataclass
class Outcome:
    """What became of the photographs.

    Attributes:
        coloured: the files that were written.
        refused: the files that could not be used, each with the reason.
    """

    coloured: list[Path] = field(default_factory=list)
    refused: dict[Path, str] = field(default_factory=dict)


def plan_tree(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """Pairs of a file below `source` and the PNG below `target` that it becomes, in the same folders.

    Hidden files and folders are left out. Files that differ in their suffix only keep it, as `a.jpg.png`.

    Raises:
        TintlabError: `source` is no folder, or `target` lies in it.
    """
    if not source.is_dir():
        raise TintlabError(f"{source} is not a folder: give the folder that holds the photographs")
    if target.resolve().is_relative_to(source.resolve()):
        raise TintlabError(
            f"{target} lies inside {source}: choose another folder for the coloured photographs"
        )
    inside = [path.relative_to(source) for path in source.rglob("*") if path.is_file()]
    files = sorted(path for path in inside if not any(part.startswith(".") for part in path.parts))
    # Whole names are taken too: a.jpg, beside a.png, becomes a.jpg.png, and then a.jpg.tif must not.
    taken = Counter(path.with_suffix("") for path in files) + Counter(files)
    return [
        (
            source / path,
            target / (path.with_suffix(SUFFIX) if taken[path.with_suffix("")] == 1 else f"{path}{SUFFIX}"),
        )
        for path in files
    ]


def plan_files(photos: Iterable[Path], target: Path) -> list[tuple[Path, Path]]:
    """Pairs of a photo and `target`/NAME-coloured.png.

    Raises:
        TintlabError: two photos of one name would overwrite each other.
    """
    plan = [(photo, target / f"{photo.stem}-coloured{SUFFIX}") for photo in photos]
    names = Counter(coloured for _, coloured in plan)
    for photo, coloured in plan:
        if names[coloured] > 1:
            raise TintlabError(
                f"{photo} and another photo would both become {coloured.name}: give them apart"
            )
    return plan


def colorize_all(
    plan: Iterable[tuple[Path, Path]],
    colorizer: Colorizer,
    max_megapixels: float,
    working_size: int | None = None,
) -> Outcome:
    """Colour each photo of a plan; each result appears whole or not at all.

    Args:
        plan: pairs of a photo and its PNG.
        colorizer: the model.
        max_megapixels: see `photos.read_photo`.
        working_size: see `colorizer.working_shape`; the model's own where it is None.
    """
    outcome = Outcome()
    pairs = list(plan)
    for photo, target in program.progress(pairs, "photos", "colouring", len(pairs)):
        try:
            rgb = colorizer.colorize(read_photo(photo, max_megapixels), working_size)
        except PhotoError as error:
            outcome.refused[photo] = str(error)
            continue
        with atomic_path(target) as temporary:
            Image.fromarray(rgb).save(temporary, format="PNG")
        outcome.coloured.append(target)
    return outcome
