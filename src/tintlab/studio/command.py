"""`tintlab colorize` with hints, a reference, steps or variants; it writes the same bytes as the page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tintlab.imaging.encoding import SUFFIXES, EncodingError
from tintlab.imaging.photos import PhotoError
from tintlab.inference.hints import read_hints
from tintlab.scoring.archive import ScoringResult
from tintlab.scoring.plan import stems_of
from tintlab.scoring.settings import Options
from tintlab.scoring.targets import fold, label
from tintlab.studio.look import Look, Point, SavedLook, read_saved
from tintlab.studio.models import Model, load
from tintlab.studio.photo import FileForm, OpenPhoto
from tintlab.studio.requests import palette_of
from tintlab.studio.variants import DRAWN_SIDE, choose_variants, draw
from tintlab.system import console
from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_path


@dataclass(frozen=True)
class Wanted:
    """The user's request.

    Attributes:
        settings: a file that the page saved, or None.
        hints: a file of hints, or None; see `inference.hints.read_hints`.
        like: a reference photograph, or None.
        chosen: parts of the look by their names; they replace those of `settings`.
        variants: so many colourings of each photograph; 0 is one, as the look says.
    """

    settings: Path | None
    hints: Path | None
    like: Path | None
    chosen: Mapping[str, float]
    variants: int


def colorize(
    photos: Sequence[Path], spec: str | None, output: Path, options: Options, wanted: Wanted
) -> ScoringResult:
    """Colour photographs to NAME-coloured.png, variants to NAME-coloured-v1.png and on.

    Args:
        photos: the files.
        spec: see `registry.models.locate`.
        output: the folder.
        options: see `Options`.
        wanted: see `Wanted`.

    Raises:
        TintlabError: the model, settings or reference can't be used, or files would overwrite each other.
    """
    form = FileForm(options.file_format, options.quality, 16 if options.depth == 16 else 8)
    model = load(spec, output, options)
    saved = read_saved(wanted.settings) if wanted.settings else SavedLook()
    look = _look(saved, model, wanted)
    _refuse_twins(photos)
    bad: dict[str, str] = {}
    pages: list[int] = []
    words = [model.settings.model_line(), *_differences(saved, model)]
    planned = [(path, page, stem) for path in photos for page, stem in stems_of(path)]
    for path, page, stem in console.progress(planned, "photos", "colouring", len(planned)):
        try:
            photo = OpenPhoto(path, model.settings.max_megapixels, page, options.descan)
            pages += [photo.more_pages] if photo.more_pages else []
            words += _colorize_one(photo, stem, model, _hinted(look, photo, wanted), form, wanted.variants)
        except (PhotoError, EncodingError) as error:
            bad[label(str(path), page)] = str(error)
    return ScoringResult(len(planned) - len(bad), bad, tuple(words), more_pages=tuple(pages))


def _look(saved: SavedLook, model: Model, wanted: Wanted) -> Look:
    values = saved.look().model_dump(exclude_unset=True) | dict(wanted.chosen)
    if wanted.like:
        values["like"] = palette_of(wanted.like, model.settings.max_megapixels)
    return Look.checked(values, "options")


def _hinted(look: Look, photo: OpenPhoto, wanted: Wanted) -> Look:
    if not wanted.hints:
        return look
    hints = read_hints(wanted.hints, photo.shape)
    return look.model_copy(update={"hints": tuple(Point.of(hint) for hint in hints)})


def _differences(saved: SavedLook, model: Model) -> Iterator[str]:
    if saved.weights_sha256 and saved.weights_sha256 != model.settings.weights_sha256:
        yield (
            f"the settings were made with {saved.model} (weights {saved.weights_sha256[:16]}): "
            f"name it with --model for the same colours"
        )


def _colorize_one(
    photo: OpenPhoto, stem: str, model: Model, look: Look, form: FileForm, variants: int
) -> Iterator[str]:
    """Write a photograph's files; words for the user."""
    suffix = SUFFIXES[form.file_format]
    if not variants:
        _write(photo, model, look, form, model.settings.output / f"{stem}-coloured{suffix}")
        return
    draws = draw(model, photo.lightness_at(DRAWN_SIDE), photo.sha256, look.seed)
    found = choose_variants(draws, variants)
    if not found:
        raise TintlabError("this model takes no noise, so it has one colouring only: leave --variants out")
    for place, variant in enumerate(found, 1):
        file = model.settings.output / f"{stem}-coloured-v{place}{suffix}"
        _write(photo, model, look.model_copy(update={"variant": variant.number}), form, file)
        yield f"{file}: draw {variant.number} of seed {look.seed}"


def _write(photo: OpenPhoto, model: Model, look: Look, form: FileForm, file: Path) -> None:
    pieces, _ = photo.file(model, look, form)
    with atomic_path(file) as temporary, temporary.open("wb") as opened:
        opened.writelines(pieces)


def _refuse_twins(photos: Sequence[Path]) -> None:
    taken: dict[str, Path] = {}
    for path in photos:
        other = taken.setdefault(fold(Path(path.stem)), path)
        if other is not path:
            raise TintlabError(f"{path} and {other} would become one file: colour them to different folders")
