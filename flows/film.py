"""film: colour a film without flicker, on this machine or by shots on a Dask cluster."""

import time
from pathlib import Path
from typing import Annotated, Any

from prefect import State, flow
from prefect.artifacts import create_markdown_artifact
from prefect.exceptions import TerminationSignal
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from flows import common
from flows.pages import as_text
from tintlab.scoring import film as films
from tintlab.scoring.film_parts import QUALITY, Coding, FilmCodec
from tintlab.scoring.film_work import FilmSettings, manifest_of
from tintlab.scoring.prefect_tasks import colour_shots
from tintlab.scoring.settings import Options, settings_for
from tintlab.system import processes
from tintlab.system.errors import TintlabError


@flow
def film(
    source: str,
    output: str,
    model: str | None = None,
    codec: FilmCodec = "h264",
    quality: Annotated[int, Field(ge=0, le=51)] = QUALITY,
    saturation: Annotated[float, Field(ge=0)] | None = None,
    working_size: Annotated[int, Field(ge=32)] | None = None,
    shots: str | None = None,
    like: str | None = None,
    dask: str | None = None,
) -> State[Any]:
    """Colour a film; started again, it goes on where it was.

    Args:
        source: the film; its own colours are ignored.
        output: the coloured film, `.mp4`, `.mkv` or `.mov`; a cluster needs a folder that all machines share.
        model: as for `tintlab film`; the champion where none is named.
        codec: of the pictures; ffv1 loses nothing, prores is for editors.
        quality: constant rate factor of h264 and hevc; less is better.
        saturation: factor on the colours: 0 is grey, 1 is as learnt; none is the model's own.
        working_size: the network's input is about this squared; none is the model's own.
        shots: a JSON file with hints and reference pictures for single shots, see docs/film.md.
        like: a reference picture for all shots.
        dask: address of a Dask scheduler, such as `tcp://10.0.0.5:8786`; none colours the film on this machine.
    """
    common.start_flow()
    try:
        target = common.pinned(Path(output))
        options = Options(saturation=saturation, working_size=working_size)
        settings = FilmSettings(
            common.pinned(Path(source)),
            target,
            settings_for(target.parent, model, options),
            Coding(codec, quality),
            common.pinned(Path(shots)) if shots else None,
            common.pinned(Path(like)) if like else None,
        )
        return _finish(_colour(settings, dask), settings)
    except TintlabError as error:
        return Failed(message=str(error))
    except TerminationSignal:
        common.end_if_cancelled()
        # Prefect would wait for the thread that is colouring a shot.
        processes.end_now(143)
        raise


def _colour(settings: FilmSettings, dask: str | None) -> str:
    if done := films.find_finished(settings):
        return done
    began = time.monotonic()
    with films.open_colouring(settings) as work:
        for word in work.words:
            get_run_logger().info("%s", word)
        colour_shots.with_options(task_runner=common.task_runner(dask))(work)
        return films.finish_colouring(work, time.monotonic() - began)


def _finish(sentence: str, settings: FilmSettings) -> State[Any]:
    score = settings.score
    text = [
        f"# {as_text(sentence)}",
        f"Model `{score.model}`, weights `{score.weights_sha256[:16]}`.",
        f"What was done in each shot: `{manifest_of(settings.output)}`.",
    ]
    create_markdown_artifact("\n\n".join(text), key="film", description=as_text(sentence))
    common.notify("tintlab film", sentence)
    return Completed(message=sentence)
