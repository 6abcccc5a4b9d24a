"""score: colour an archive in chunks, on this machine or on a Dask cluster."""

from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import State, flow
from prefect.artifacts import create_image_artifact, create_markdown_artifact
from prefect.exceptions import TerminationSignal
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from flows import common
from flows.pages import as_text
from tintlab.scoring import archive, mirror
from tintlab.scoring.prefect_tasks import colour_all
from tintlab.scoring.preview import make_preview
from tintlab.scoring.settings import Options, ScoreSettings, settings_for
from tintlab.scoring.shared_model import share_model
from tintlab.system import console, processes
from tintlab.system.errors import TintlabError
from tintlab.system.urls import is_url

_SHOWN = 50


@flow
def score(
    source: str,
    output: str,
    model: str | None = None,
    variants: Annotated[int, Field(ge=0, le=64)] = 0,
    seed: Annotated[int, Field(ge=0)] = 0,
    saturation: Annotated[float, Field(ge=0)] | None = None,
    working_size: Annotated[int, Field(ge=32)] | None = None,
    file_format: Literal["png", "jpeg", "webp"] = "png",
    quality: Annotated[int, Field(ge=1, le=100)] = 92,
    depth: Literal[8, 16] = 8,
    descan: bool = False,
    hints: str | None = None,
    page: bool = True,
    follow_links: bool = False,
    chunk_size: Annotated[int, Field(ge=1)] = 200,
    dask: str | None = None,
) -> State[Any]:
    """Colour an archive; started again, it goes on where it was.

    Args:
        source: a folder, a list, a pattern or a store, as for `tintlab score`.
        output: folder of the coloured photographs; of a cluster, one that all its machines share, or a store.
        model: as for `tintlab score`; the champion where none is named.
        variants: files a photograph, each with noise of its own; 0 is one, without noise.
        seed: of the variants' noise.
        saturation: factor on the colours: 0 is grey, 1 is as learnt; none is the model's own.
        working_size: the network's input is about this squared; none is the model's own.
        file_format: of the coloured files.
        quality: of JPEG and WebP.
        depth: bits a channel; 16 for PNG.
        descan: even out the fading of prints first, by a stretch of their lightness.
        hints: a JSON file with colours of places, {"NAME": [hints]}, as for `tintlab score --hints`; else none.
        page: write `index.html`, a contact sheet, to the output.
        follow_links: enter linked folders too.
        chunk_size: photographs a task.
        dask: address of a Dask scheduler, such as `tcp://10.0.0.5:8786`; none colours them on this machine.
    """
    common.start_flow()
    options = Options(
        file_format,
        quality,
        depth,
        saturation,
        working_size,
        seed=seed,
        variants=variants,
        descan=descan,
        hints=common.pinned(Path(hints)) if hints else None,
    )
    try:
        settings = _settings(output, model, options)
        with archive.open_scoring(_pinned(source), settings, follow_links) as work:
            for word in work.words:
                get_run_logger().info("%s", word)
            if work.left:
                # Machines that share only a store get the model from there.
                ready = share_model(work.settings) if dask and settings.store else work.settings
                colour_all.with_options(task_runner=common.task_runner(dask))(work.left, ready, chunk_size)
            done = archive.finish_scoring(work, page)
            return _finish(done, settings, make_preview(work.plan.photos, settings))
    except (TintlabError, OSError) as error:  # such as a full disk
        return Failed(message=console.one_line(error))
    except TerminationSignal:
        common.end_if_cancelled()
        # Prefect would wait for the threads that are colouring photographs.
        processes.end_now(143)
        raise


def _settings(output: str, model: str | None, options: Options) -> ScoreSettings:
    folder, store = mirror.resolve_output(_pinned(output))
    return settings_for(folder, model, options, store)


def _pinned(place: str) -> str:
    """A URL, or an absolute path."""
    return place if is_url(place) else str(common.pinned(Path(place)))


def _finish(done: archive.ScoringResult, settings: ScoreSettings, preview: str | None) -> State[Any]:
    sentence = done.line()
    bad = [f"- {as_text(name)}: {as_text(why)}" for name, why in list(done.quarantined.items())[:_SHOWN]]
    text = [
        f"# {sentence}",
        *([f"![grey and coloured]({preview})"] if preview else []),
        "| coloured | can't be used | model |\n| ---: | ---: | --- |\n"
        f"| {done.coloured} | {len(done.quarantined)} | `{settings.model}` |",
        f"Model `{settings.model}`, weights `{settings.weights_sha256[:16]}`, in `{settings.place()}`.",
        *map(as_text, done.words),
        "\n".join(bad),
    ]
    create_markdown_artifact("\n\n".join(text), key="score", description=as_text(sentence))
    if preview:
        create_image_artifact(preview, key="score-sheet", description="grey and coloured, the first by name")
    common.notify("tintlab score", "\n".join([sentence, *done.words]))
    if done.status == 1:
        return Failed(message=sentence)
    return Completed(name="SomeQuarantined" if done.status else None, message=sentence)
