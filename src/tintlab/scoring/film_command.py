"""`tintlab film`: the command; heavy imports happen inside of it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tintlab.system import console
from tintlab.system.options import Engine, Precision, Saturation, ScoringModel, WorkingSize


class Codec(StrEnum):
    """Of coloured films."""

    h264 = "h264"
    hevc = "hevc"
    ffv1 = "ffv1"
    prores = "prores"


def film(
    source: Annotated[Path, typer.Argument(help="A film; its own colours are ignored.")],
    output: Annotated[Path, typer.Argument(help="The coloured film: .mp4, .mkv or .mov.")],
    model: ScoringModel = None,
    codec: Annotated[
        Codec, typer.Option(help="Of the pictures; ffv1 loses nothing, prores is for editors.")
    ] = Codec.h264,
    quality: Annotated[
        int, typer.Option(min=0, max=51, help="Constant rate factor of h264 and hevc; less is better.")
    ] = 17,
    saturation: Saturation = None,
    working_size: WorkingSize = None,
    shots: Annotated[
        Path | None,
        typer.Option(help="JSON with hints and reference pictures for single shots, see docs/film.md."),
    ] = None,
    like: Annotated[Path | None, typer.Option(help="A reference picture for all shots.")] = None,
    engine: Engine = "auto",
    precision: Precision = "auto",
) -> None:
    """Colour a film without flicker; sound and times are kept. A second call goes on where a killed one was.

    OUTPUT.shots.csv says what was done in each shot.
    """
    from functools import partial

    from tintlab.scoring.film import colour_film
    from tintlab.scoring.film_parts import Coding
    from tintlab.scoring.film_work import FilmSettings
    from tintlab.scoring.settings import Options, settings_for

    options = Options(saturation=saturation, working_size=working_size, engine=engine, precision=precision)
    settings = FilmSettings(
        source,
        output,
        settings_for(output.parent, model, options),
        Coding(codec.value, quality),
        shots,
        like,
    )
    console.say(colour_film(settings, partial(console.say, error=True)))
