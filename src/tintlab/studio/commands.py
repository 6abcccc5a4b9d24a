"""`tintlab studio` and `tintlab colorize`: the commands; heavy imports happen inside of them."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tintlab.system import suggestions
from tintlab.system.options import Descan, Engine, Precision, Saturation, ScoringModel, WorkingSize


class FileFormat(StrEnum):
    """Of coloured files."""

    png = "png"
    jpeg = "jpeg"
    webp = "webp"


def studio(
    port: Annotated[
        int | None, typer.Option(help="Port; 8400, or the next free one. 0 is any free one.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; one that others reach needs TINTLAB_STUDIO_TOKEN.")
    ] = "127.0.0.1",
    name: Annotated[list[str] | None, typer.Option(help="Another name that the server is called by.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="A folder, `models:/tintlab/3` or an alias; the champion where there is one.",
            autocompletion=suggestions.complete_model,
        ),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Serve the studio: a page to colour, compare, steer and hint photographs, and plain HTTP, until Ctrl-C."""
    from tintlab.studio.server import serve

    serve(port, host, model, tuple(name or ()), open_page)


def colorize(
    photos: Annotated[
        list[Path], typer.Argument(help="Photographs, grey or not; their own colours are ignored.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for NAME-coloured.png.")] = Path(),
    model: ScoringModel = None,
    working_size: WorkingSize = None,
    saturation: Saturation = None,
    engine: Engine = "auto",
    precision: Precision = "auto",
    file_format: Annotated[
        FileFormat, typer.Option("--format", help="Of the coloured files.")
    ] = FileFormat.png,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of JPEG and WebP.")] = 92,
    depth: Annotated[int, typer.Option(help="Bits a channel: 8, or 16 for PNG.")] = 8,
    descan: Descan = False,
    settings: Annotated[
        Path | None, typer.Option(help="What the studio's page saved; the options below count for more.")
    ] = None,
    hints: Annotated[
        Path | None, typer.Option(help="Colours of places, as JSON; see docs/studio.md.")
    ] = None,
    like: Annotated[
        Path | None, typer.Option(help="A reference photograph, whose palette guides the colours.")
    ] = None,
    like_strength: Annotated[
        float | None, typer.Option(min=0, max=1, help="How far to the reference's palette; 0.75 if absent.")
    ] = None,
    warm: Annotated[float | None, typer.Option(help="Steps towards warmer colours, about -3 to 3.")] = None,
    vivid: Annotated[float | None, typer.Option(help="Steps towards more vivid colours.")] = None,
    green: Annotated[float | None, typer.Option(help="Steps from magenta to green.")] = None,
    sky: Annotated[float | None, typer.Option(help="Steps towards a bluer sky.")] = None,
    foliage: Annotated[float | None, typer.Option(help="Steps towards greener leaves.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the noise.")] = None,
    variant: Annotated[int | None, typer.Option(min=0, help="Draw of the noise, from 1; 0: none.")] = None,
    variants: Annotated[
        int,
        typer.Option(min=0, max=48, help="So many colourings that differ visibly: NAME-coloured-v1.png …"),
    ] = 0,
) -> None:
    """Colour photographs at their full size. Status 0: all; 2: some files can't be used; 1: none."""
    from tintlab.scoring import archive
    from tintlab.scoring.settings import Options, settings_for

    options = Options(
        file_format=file_format.value,
        quality=quality,
        depth=depth,
        saturation=saturation,
        working_size=working_size,
        engine=engine,
        precision=precision,
        descan=descan,
    )
    names = ("warm", "vivid", "green", "sky", "foliage", "seed", "variant", "like_strength")
    values = (warm, vivid, green, sky, foliage, seed, variant, like_strength)
    chosen = {name: value for name, value in zip(names, values, strict=True) if value is not None}
    if not (chosen or settings or hints or like or variants):
        result = archive.colorize(photos, settings_for(output, model, options))
    else:
        from tintlab.studio import command

        if saturation is not None:
            chosen["saturation"] = saturation
        wanted = command.Wanted(settings, hints, like, chosen, variants)
        result = command.colorize(photos, model, output, options, wanted)
    if status := archive.say_result(result):
        raise typer.Exit(status)
