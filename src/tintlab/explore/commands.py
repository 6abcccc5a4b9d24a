"""`tintlab explore …`: arguments and output; the work is in `run` and its neighbours."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tintlab.system import console, suggestions
from tintlab.system.errors import TintlabError

if TYPE_CHECKING:
    from tintlab.explore.model import Explored
    from tintlab.explore.run import Saved

app = typer.Typer(
    help="Explore a model: variants, directions to steer by, single units, contrast.",
    no_args_is_help=True,
)

Model = Annotated[
    str | None,
    typer.Option(
        help="A folder, `models:/tintlab/3` or an alias; the champion if there is one.",
        autocompletion=suggestions.complete_model,
    ),
]
Photo = Annotated[Path, typer.Argument(help="A photograph, grey or not; its own colours are ignored.")]
Photos = Annotated[
    int, typer.Option("--number", "-n", "--photos", min=2, help="At most this many photographs.")
]
Seed = Annotated[int, typer.Option(min=0, help="Of the noise.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the coloured files.")]


@app.command(
    epilog="Examples: `tintlab explore variants attic/harbour.jpg -n 9 --seed 0` · "
    "`tintlab explore variants attic/harbour.jpg --dropout -o variants/`"
)
def variants(
    photo: Photo,
    count: Annotated[int, typer.Option("--number", "-n", min=1, max=1000, help="How many.")] = 9,
    seed: Seed = 0,
    output: Output = Path(),
    dropout: Annotated[
        bool, typer.Option("--dropout", help="By dropout instead of noise, as in pix2pix.")
    ] = False,
    model: Model = None,
) -> None:
    """Colour a photograph in several ways: NAME-v1.png and so on, as `tintlab score` does, and a sheet of all."""
    from tintlab.explore import section
    from tintlab.explore import variants as writing
    from tintlab.scoring.settings import Options, settings_for

    # Dropout happens in torch's network alone.
    options = Options(seed=seed, variants=0 if dropout else count, engine="torch" if dropout else "auto")
    settings = settings_for(output, model, options)
    files = (
        writing.write_dropout_variants(photo, settings, count)
        if dropout
        else writing.write_noise_variants(photo, settings)
    )
    sheet = output / f"{photo.stem}{'-dropout' if dropout else ''}-variants.jpg"
    section.save_picture(sheet, writing.draw_sheet(photo, files, settings))
    console.say(f"{len(files)} variants, all of them on {sheet}")


@app.command(epilog="Example: `tintlab explore measure -n 47`")
def measure(photos: Photos = 1000, seed: Seed = 0, model: Model = None) -> None:
    """Measure variety, usefulness and realism of samples, by noise and by dropout, on the test photographs."""
    from tintlab.explore.run import run_measures

    _show(run_measures(_open(model), photos, seed))


@app.command(epilog="Example: `tintlab explore directions --codes 32`")
def directions(
    photos: Photos = 1000,
    codes: Annotated[int, typer.Option(min=10, help="Noise vectors a photograph.")] = 32,
    seed: Seed = 0,
    model: Model = None,
) -> None:
    """Find the attributes' directions in the noise, save them with the model, and measure the effect of steps."""
    from tintlab.explore.run import run_directions

    _show(run_directions(_open(model), photos, codes, seed))


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
        bool, typer.Option("--conditional", help="Along directions that leave other attributes alone.")
    ] = False,
    output: Output = Path(),
    model: Model = None,
) -> None:
    """Colour a photograph some steps along attributes: NAME-steered.png. Useful steps range from -3 to 3."""
    from tintlab.explore import directions as known
    from tintlab.explore import steering
    from tintlab.scoring.settings import Options, settings_for

    settings = settings_for(output, model, Options(engine="torch"))
    opened = _open(str(settings.model_folder))
    found = known.load(known.place(opened.folder), opened)
    given = {"warm": warm, "saturation": saturation, "green": green, "sky": sky, "foliage": foliage}
    steps = {name: step for name, step in given.items() if step is not None}
    for unknown in (word for word in context.args if word.startswith("--")):
        found.normal(unknown.removeprefix("--").partition("=")[0])
    if context.args:
        raise TintlabError(f"{context.args[0]}: one photograph at a time")
    if not steps:
        raise TintlabError(f"say which way: {', '.join(f'--{name} 1' for name in found.directions)}")
    file = steering.write_steered(photo, settings, opened.colorizer, found, steps, conditional)
    console.say(f"{file}")


@app.command(epilog="Examples: `tintlab explore units` · `tintlab explore units --layer up_blocks.0 -n 20`")
def units(
    photos: Photos = 60,
    layer: Annotated[
        list[str] | None, typer.Option(help="A module of the generator; can be repeated.")
    ] = None,
    model: Model = None,
) -> None:
    """Show the colours and places at which the decoder's units switch on, and the colours without them."""
    from tintlab.explore.run import run_units

    _show(run_units(_open(model), photos, layer))


@app.command(epilog="Example: `tintlab explore contrast -n 20`")
def contrast(photos: Photos = 1000, model: Model = None) -> None:
    """Show how the colours depend on the contrast and brightness of the grey photograph."""
    from tintlab.explore.run import run_contrast

    _show(run_contrast(_open(model), photos))


@app.command(epilog="Example: `tintlab explore report --again`")
def report(
    photos: Photos = 1000,
    seed: Seed = 0,
    again: Annotated[bool, typer.Option("--again", help="Run also the parts that were run before.")] = False,
    pictures: Annotated[Path | None, typer.Option(help="Copy the pictures to this folder.")] = None,
    model: Model = None,
) -> None:
    """Write a page of all results, after running the missing parts; log it to the training's run."""
    from tintlab.explore import results, run, section

    opened = _open(model)
    names = run.run_all(opened, photos, seed, again)
    file, logged = results.write_page(opened, names)
    if pictures is not None:
        section.copy_pictures(opened.weights_sha256, names, pictures)
    typer.echo(f"{file}; {logged}")


def _open(spec: str | None) -> "Explored":
    from tintlab.explore.model import open_model

    return open_model(spec)


def _show(saved: "Saved") -> None:
    found, where = saved
    typer.echo(found.text())
    typer.echo(f"\n{where}")
