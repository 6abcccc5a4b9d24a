"""`tintlab explore …`: thin commands over the package."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tintlab.system import console
from tintlab.system.errors import TintlabError

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image

    from tintlab.explore.model import Explored
    from tintlab.explore.section import Section
    from tintlab.explore.subjects import Subject

app = typer.Typer(
    help="What a model leaves open and how it can be steered: variants, directions, units, contrast.",
    no_args_is_help=True,
)

Model = Annotated[
    str | None,
    typer.Option(help="A folder, `models:/tintlab/3` or an alias; the champion where there is one."),
]
Photo = Annotated[Path, typer.Argument(help="A photograph, grey or not; its own colours are ignored.")]
Photos = Annotated[int, typer.Option(min=2, help="How many photographs at the most.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the noise.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the coloured files.")]


@app.command(
    epilog="Examples: `tintlab explore variants attic/harbour.jpg -n 9 --seed 0` · "
    "`tintlab explore variants attic/harbour.jpg --dropout -o variants/`"
)
def variants(
    photo: Photo,
    count: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many.")] = 9,
    seed: Seed = 0,
    output: Output = Path(),
    dropout: Annotated[
        bool, typer.Option("--dropout", help="By dropout instead of noise, as pix2pix.")
    ] = False,
    model: Model = None,
) -> None:
    """Colour a photograph in several ways: NAME-v1.png and on, as `tintlab score` does, and a sheet of all."""
    from tintlab.explore import section
    from tintlab.explore import variants as made
    from tintlab.scoring.settings import Options, settings_for

    options = Options(seed=seed, variants=0 if dropout else count)
    settings = settings_for(output, model, options)
    files = made.dropout_files(photo, settings, count) if dropout else made.noise_files(photo, settings)
    sheet = output / f"{photo.stem}{'-dropout' if dropout else ''}-variants.jpg"
    section.save_picture(sheet, made.sheet(photo, files, settings))
    console.say(f"{len(files)} variants, all of them on {sheet}")


@app.command(epilog="Example: `tintlab explore measure --photos 47`")
def measure(photos: Photos = 1000, seed: Seed = 0, model: Model = None) -> None:
    """Measure variety, usefulness and realism of samples, by noise and by dropout, on the test photographs."""
    _show(_measure(_opened(model), photos, seed))


@app.command(epilog="Example: `tintlab explore directions --codes 32`")
def directions(
    photos: Photos = 1000,
    codes: Annotated[int, typer.Option(min=10, help="Noise vectors a photograph.")] = 32,
    seed: Seed = 0,
    model: Model = None,
) -> None:
    """Find the directions of the attributes in the noise, keep them with the model, and measure what steps do."""
    _show(_directions(_opened(model), photos, codes, seed))


@app.command(
    epilog="Examples: `tintlab explore steer harbour.jpg --warm 2 --saturation -1` · "
    "`tintlab explore steer harbour.jpg --sky 2 --conditional`",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def steer(
    context: typer.Context,
    photo: Photo,
    warm: Annotated[
        float | None, typer.Option(help="Steps to warmer colours; below 0, to cooler ones.")
    ] = None,
    saturation: Annotated[float | None, typer.Option(help="Steps to more vivid colours.")] = None,
    green: Annotated[float | None, typer.Option(help="Steps from magenta to green.")] = None,
    sky: Annotated[float | None, typer.Option(help="Steps to a bluer sky.")] = None,
    foliage: Annotated[float | None, typer.Option(help="Steps to greener leaves.")] = None,
    conditional: Annotated[
        bool, typer.Option("--conditional", help="Along directions that leave the other attributes alone.")
    ] = False,
    output: Output = Path(),
    model: Model = None,
) -> None:
    """Colour a photograph some steps along attributes: NAME-steered.png. From -3 to 3 is what the noise knows."""
    from tintlab.explore import directions as known
    from tintlab.explore import steering
    from tintlab.scoring.settings import Options, settings_for

    settings = settings_for(output, model, Options())
    opened = _opened(str(settings.model_folder))
    found = known.load(known.place(opened.folder), opened)
    given = {"warm": warm, "saturation": saturation, "green": green, "sky": sky, "foliage": foliage}
    steps = {name: step for name, step in given.items() if step is not None}
    for unknown in (word for word in context.args if word.startswith("--")):
        found.normal(unknown.removeprefix("--").partition("=")[0])
    if context.args:
        raise TintlabError(f"{context.args[0]}: one photograph at a time")
    if not steps:
        raise TintlabError(f"say which way: {', '.join(f'--{name} 1' for name in found.directions)}")
    file = steering.steered_file(photo, settings, opened.colorizer, found, steps, conditional)
    console.say(f"{file}")


@app.command(
    epilog="Examples: `tintlab explore units` · `tintlab explore units --layer up_blocks.0 --photos 20`"
)
def units(
    photos: Photos = 60,
    layer: Annotated[
        list[str] | None, typer.Option(help="A module of the generator; may be given again.")
    ] = None,
    model: Model = None,
) -> None:
    """Show which colours and places the decoder's units switch on for, and the colours without them."""
    _show(_units(_opened(model), photos, layer))


@app.command(epilog="Example: `tintlab explore contrast --photos 20`")
def contrast(photos: Photos = 1000, model: Model = None) -> None:
    """Show how the colours depend on contrast and brightness of the grey photograph."""
    _show(_contrast(_opened(model), photos))


@app.command(epilog="Example: `tintlab explore report --anew`")
def report(
    photos: Photos = 1000,
    seed: Seed = 0,
    anew: Annotated[bool, typer.Option("--anew", help="Do again what was done before.")] = False,
    pictures: Annotated[Path | None, typer.Option(help="Copy the pictures to this folder.")] = None,
    model: Model = None,
) -> None:
    """Make a page of all of it, running what has not been run for this model; logged to its training's run."""
    from tintlab.explore import page, section

    opened = _opened(model)
    makers: dict[str, Callable[[], tuple[Section, str]]] = {
        "measure": lambda: _measure(opened, photos, seed),
        "directions": lambda: _directions(opened, photos, 32, seed),
        "units": lambda: _units(opened, min(photos, 60), None),
        "contrast": lambda: _contrast(opened, photos),
    }
    if not opened.colorizer.z_dim:
        del makers["directions"]
    for name, make in makers.items():
        if anew or section.kept(section.folder(opened.weights_sha256, name)) is None:
            make()
    file, word = page.write(opened, list(makers))
    if pictures is not None:
        section.copy_pictures(opened.weights_sha256, list(makers), pictures)
    console.say(f"{file}; {word}")


def _opened(spec: str | None) -> "Explored":
    from tintlab.explore.model import opened

    return opened(spec)


def _show(made: "tuple[Section, str]") -> None:
    found, where = made
    console.say(found.text())
    console.say(f"\n{where}")


def _measure(model: "Explored", photos: int, seed: int) -> "tuple[Section, str]":
    from tintlab.evaluation.judge import Judge
    from tintlab.explore import measures

    subjects = _subjects(["test"], photos, model.colorizer.settings.working_size)
    command = f"tintlab explore measure --photos {photos} --seed {seed}"
    found = measures.section(model, subjects, Judge(), seed, command)
    return _kept(model, "measure", found)


def _directions(model: "Explored", photos: int, codes: int, seed: int) -> "tuple[Section, str]":
    from tintlab.explore import directions, effects, record
    from tintlab.explore.model import FAST_SIZE

    model.require_noise()
    found_on = _subjects(["val"], photos, FAST_SIZE)
    found = directions.find(model, found_on, codes, seed)
    place = directions.place(model.folder)
    directions.save(place, found)
    tried_on = _subjects(["test"], min(photos, 24), FAST_SIZE)
    command = f"tintlab explore directions --photos {photos} --codes {codes} --seed {seed}"
    shown, where = _kept(model, "directions", effects.section(model, found, found_on, tried_on, command))
    record.log(model, {}, [place])
    return shown, f"{place}; {where}"


def _units(model: "Explored", photos: int, layers: list[str] | None) -> "tuple[Section, str]":
    from tintlab.explore import dissection
    from tintlab.explore.model import FAST_SIZE
    from tintlab.explore.units import LAYERS

    subjects = _subjects(["val", "test"], photos, FAST_SIZE)
    command = f"tintlab explore units --photos {photos}"
    return _kept(model, "units", dissection.section(model, subjects, layers or LAYERS, command))


def _contrast(model: "Explored", photos: int) -> "tuple[Section, str]":
    from tintlab.explore import contrast

    subjects = _subjects(["test"], photos, model.colorizer.settings.working_size)
    command = f"tintlab explore contrast --photos {photos}"
    return _kept(model, "contrast", contrast.section(model, subjects, command))


def _subjects(splits: list[str], count: int, size: int) -> "list[Subject]":
    from tintlab.explore.subjects import subjects

    return subjects(splits, count, size)


def _kept(model: "Explored", name: str, made: "tuple[Section, list[Image.Image]]") -> "tuple[Section, str]":
    from tintlab.explore import record

    found, pictures = made
    return found, record.keep(model, name, found, pictures)
