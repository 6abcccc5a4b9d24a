"""`tintlab …`: thin commands over the package. Heavy imports happen inside the commands that need them."""

from pathlib import Path
from typing import Annotated

import typer

from tintlab import paths, program
from tintlab.params import load_params

app = typer.Typer(
    name="tintlab",
    help="From a folder of colour photographs to a judged, tracked photo-colorization model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    add_completion=False,
)
sources_app = typer.Typer(help="The folders and archives that `fetch.sources` names.", no_args_is_help=True)
app.add_typer(sources_app, name="sources")

Model = Annotated[Path, typer.Option(help="Folder of a trained model.")]
WorkingSize = Annotated[int | None, typer.Option(min=32, help="What the network sees, about this squared.")]

DEFAULT_MAX_MEGAPIXELS = 200.0
"""Where there is no params.yaml: the commands that colour work in any folder."""


@app.command(epilog="Examples: `tintlab repro` · `tintlab repro --preset smoke -S train.lambda_l1=50`")
def repro(
    preset: Annotated[str | None, typer.Option(help="Overrides from presets/NAME.yaml.")] = None,
    override: Annotated[
        list[str] | None, typer.Option("-S", "--set-param", help="One override, as in `train.seed=1`.")
    ] = None,
) -> None:
    """Run the pipeline: what is up to date is skipped. Overrides make it a `dvc exp run`."""
    from tintlab import pipeline

    pipeline.repro(preset, override or [])


@sources_app.command("refresh", epilog="Run it after you changed fetch.sources or what lies there.")
def sources_refresh() -> None:
    """Record what each of `fetch.sources` holds now in data/sources.lock.json."""
    from tintlab import sources
    from tintlab.storage import write_json

    lock = sources.record(load_params().fetch.sources)
    write_json(paths.SOURCES_LOCK, lock)
    typer.echo(f"recorded {len(lock)} sources in {paths.SOURCES_LOCK}")


@app.command(epilog="Example: `tintlab colorize attic/*.jpg --output coloured/`")
def colorize(
    photos: Annotated[
        list[Path], typer.Argument(help="Photographs, grey or not; their own colours are ignored.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for NAME-coloured.png.")] = Path(),
    model: Model = paths.GENERATOR,
    working_size: WorkingSize = None,
) -> None:
    """Colour photographs at their full size."""
    from tintlab import scoring

    _colorize(scoring.plan_files(photos, output), model, working_size)


@app.command(epilog="Example: `tintlab score scans/ coloured/`")
def score(
    source: Annotated[Path, typer.Argument(help="Folder of photographs, with subfolders.")],
    target: Annotated[Path, typer.Argument(help="Folder for the same tree in colour, as PNG.")],
    model: Model = paths.GENERATOR,
    working_size: WorkingSize = None,
) -> None:
    """Colour a folder tree. Status 0: all; 2: some files could not be used; 1: none."""
    from tintlab import scoring

    _colorize(scoring.plan_tree(source, target), model, working_size)


@app.command(epilog="Example: `tintlab evaluate ~/pictures/unseen`")
def evaluate(
    folder: Annotated[
        Path, typer.Argument(help="Colour photographs that the model has not been trained on.")
    ],
    model: Model = paths.GENERATOR,
) -> None:
    """Judge the model on other photographs, beside the baselines."""
    from tintlab import report
    from tintlab.stages.evaluate import evaluate_folder

    typer.echo(report.metrics_text(evaluate_folder(folder, model, load_params()).totals))


def _colorize(plan: list[tuple[Path, Path]], model: Path, working_size: int | None) -> None:
    from tintlab import scoring
    from tintlab.colorizer import Colorizer

    limit = load_params().photos.max_megapixels if paths.PARAMS.exists() else DEFAULT_MAX_MEGAPIXELS
    outcome = scoring.colorize_all(plan, Colorizer.load(model), limit, working_size)
    for photo, reason in outcome.refused.items():
        typer.echo(f"{program.printable(str(photo))}: {reason}", err=True)
    typer.echo(f"{len(outcome.coloured)} photographs coloured, {len(outcome.refused)} files can't be used")
    if outcome.refused or not outcome.coloured:
        raise typer.Exit(2 if outcome.coloured else 1)


@app.command(epilog="Runs by itself after `tintlab repro`; needed after a plain `dvc repro` or an outage.")
def sync() -> None:
    """Deliver to MLflow what has not reached it; make a run for a model restored from DVC's cache."""
    from tintlab import pipeline

    typer.echo(pipeline.sync())


@app.command(epilog="Example: `tintlab ui --port 5001`")
def ui(port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 5000) -> None:
    """Browse the runs in MLflow's UI, on this machine only."""
    from tintlab import pipeline

    pipeline.serve_ui(port)


@app.command(epilog="Status 0: all is well; 1: something is to be done.")
def doctor() -> None:
    """Look at versions, devices, disk, MLflow, locks and unfinished trainings; say what to do."""
    from tintlab import doctor

    findings = doctor.examine()
    typer.echo(doctor.text(findings))
    if any(finding.advice for finding in findings):
        raise typer.Exit(1)


def main() -> None:
    """The program `tintlab`."""
    program.run(app)


if __name__ == "__main__":
    main()
