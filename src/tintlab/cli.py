"""`tintlab …`: arguments and output of all commands. Heavy imports are inside the commands that need them."""

import importlib.metadata
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tintlab.explore import commands as explore
from tintlab.operations import commands as operations
from tintlab.registry import commands as versions
from tintlab.scoring import film_command
from tintlab.studio import commands as studio
from tintlab.system import console, entry_point, paths, suggestions
from tintlab.system.options import Descan, Engine, Precision, Saturation, ScoringModel, WorkingSize
from tintlab.system.params import load_params

app = typer.Typer(
    name="tintlab",
    help="From a folder of colour photographs to a judged, tracked photo-colorization model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
sources_app = typer.Typer(help="The folders and archives that `fetch.sources` names.", no_args_is_help=True)
app.add_typer(sources_app, name="sources")
app.add_typer(versions.app)
app.add_typer(operations.app)
app.add_typer(explore.app, name="explore")
app.command(epilog="Example: `tintlab studio --open`")(studio.studio)
app.command(
    epilog="Examples: `tintlab colorize attic/*.jpg --output coloured/` · "
    "`tintlab colorize boat.jpg --hints hints.json --like postcard.jpg --warm 1 --variants 6`"
)(studio.colorize)

app.command(epilog="Example: `tintlab film reel.mp4 coloured.mp4`")(film_command.film)

Model = Annotated[Path, typer.Option(help="Folder of a trained model.")]
Preset = Annotated[
    str | None,
    typer.Option(help="Overrides from presets/NAME.yaml.", autocompletion=suggestions.complete_preset),
]


def _print_version(wanted: bool) -> None:
    if wanted:
        console.say(f"tintlab {importlib.metadata.version('tintlab')}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", is_eager=True, callback=_print_version, help="Print the version."),
    ] = False,
) -> None:
    """From a folder of colour photographs to a judged, tracked photo-colorization model."""


class Protocol(StrEnum):
    """Of `tintlab evaluate`."""

    published = "256"


@app.command(epilog="Example: `tintlab init harbour && cd harbour && tintlab repro --preset smoke`")
def init(folder: Annotated[Path, typer.Argument(help="A new or an empty folder.")]) -> None:
    """Start a project of your own: pipeline, parameters, presets, flows and photographs to begin with."""
    from tintlab.operations.project import make_project

    console.say(make_project(folder))


@app.command(epilog="Examples: `tintlab repro` · `tintlab repro --preset smoke -S train.lambda_l1=50`")
def repro(
    preset: Preset = None,
    override: Annotated[
        list[str] | None, typer.Option("-S", "--set-param", help="One override, as in `train.seed=1`.")
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(help="Always run it as a DVC experiment of this name.")
    ] = None,
) -> None:
    """Run the stages that are out of date. With overrides, run them as a `dvc exp run`."""
    from tintlab.operations import pipeline

    pipeline.repro(preset, override or [], experiment)


@sources_app.command("refresh", epilog="Run it after a change of fetch.sources or of their content.")
def sources_refresh(
    parent: Annotated[
        str | None, typer.Option(help="Record this model to start from; train.init_from where none is named.")
    ] = None,
    preset: Preset = None,
) -> None:
    """Record the present content of `fetch.sources` in data/sources.lock.json; download those with a URL.

    Also record the model of `train.init_from` in data/parent.lock.json.
    """
    from tintlab.operations import pipeline
    from tintlab.registry import parents
    from tintlab.sources import downloads
    from tintlab.system.files import read_json, write_json

    recorded = read_json(paths.SOURCES_LOCK) if paths.SOURCES_LOCK.exists() else {}
    params = load_params(sections=pipeline.read_preset(preset) if preset else {})
    lock = downloads.refresh(params.fetch, recorded)
    write_json(paths.SOURCES_LOCK, lock)
    console.say(f"recorded {len(lock)} sources in {paths.SOURCES_LOCK}")
    start = parents.lock_content(parent or params.train.init_from)
    write_json(paths.PARENT_LOCK, start)
    for spec, known in start.items():
        console.say(f"recorded {spec}: weights {known['weights_sha256'][:16]} in {paths.PARENT_LOCK}")


@sources_app.command("pull", epilog="Run it on a machine that has the repository but not the archives.")
def sources_pull() -> None:
    """Download the archives with a URL in data/sources.lock.json; refuse other bytes."""
    from tintlab.sources import downloads
    from tintlab.system.files import read_json

    copied = downloads.pull(load_params().fetch, read_json(paths.SOURCES_LOCK))
    console.say(f"copied {len(copied)} archives")


@app.command(
    epilog="Examples: `tintlab score scans/ coloured/` · `tintlab score 'scans/**/*.tif' out --depth 16`"
    " · `tintlab score scans/ out --variants 3 --seed 7`"
)
def score(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder with subfolders, a list (.txt with a path a line, .csv with a column `path`), "
            "a quoted pattern, or a folder in a store (s3://bucket/folder, gs, az, sftp, https)."
        ),
    ],
    output: Annotated[str, typer.Argument(help="Folder for the same tree in colour; also a store.")],
    model: ScoringModel = None,
    file_format: Annotated[
        studio.FileFormat, typer.Option("--format", help="Of the coloured files.")
    ] = studio.FileFormat.png,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of JPEG and WebP.")] = 92,
    depth: Annotated[int, typer.Option(help="Bits a channel: 8, or 16 for PNG.")] = 8,
    working_size: WorkingSize = None,
    saturation: Saturation = None,
    variants: Annotated[
        int, typer.Option(min=0, help="Files a photograph, NAME-v1.png and on; 0: one, without noise.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the variants' noise.")] = 0,
    descan: Descan = False,
    hints: Annotated[
        Path | None,
        typer.Option(help='Colours of places, as JSON: {"NAME": [hints]}, with paths below INPUT.'),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Photographs at a time; 0: as the CPUs suggest.")] = 0,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Enter linked folders too; each file is coloured once.")
    ] = False,
    engine: Engine = "auto",
    precision: Precision = "auto",
    no_page: Annotated[
        bool, typer.Option("--no-page", help="Leave out OUTPUT/index.html, the contact sheet.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
) -> None:
    """Colour an archive, each file with its provenance. A second call resumes.

    OUTPUT/index.html shows the photographs. OUTPUT/manifest.parquet says what became of each file,
    OUTPUT/quarantine.csv lists those that can't be used.
    Status 0: all photographs are coloured; 2: some are not, or a folder was not entered; 1: none is.
    """
    from tintlab.scoring import archive, mirror
    from tintlab.scoring.settings import Options, settings_for

    options = Options(
        file_format.value,
        quality,
        depth,
        saturation,
        working_size,
        workers,
        seed,
        variants,
        engine=engine,
        precision=precision,
        descan=descan,
        hints=hints,
    )
    folder, store = mirror.resolve_output(output)
    settings = settings_for(folder, model, options, store)
    if dry_run:
        found = archive.plan_scoring(source, settings, follow_links)
        console.say(archive.preview(found))
        if not found.plan.is_complete:
            raise typer.Exit(2)
        return
    announce = partial(console.say, error=True)
    result = archive.score(source, settings, announce, follow_links, not no_page)
    if status := archive.say_result(result):
        raise typer.Exit(status)


@app.command(epilog="Example: `tintlab trace coloured/1931/harbour.png`")
def trace(file: Annotated[Path, typer.Argument(help="A file that tintlab has coloured.")]) -> None:
    """Show the origin of a coloured file: its model, run, parameters, commit and data."""
    from tintlab.scoring import trace

    console.say(trace.trace(file).text())


@app.command(
    epilog="Examples: `tintlab evaluate ~/unseen` · `tintlab evaluate ~/unseen --model base --protocol 256`"
)
def evaluate(
    folder: Annotated[
        Path, typer.Argument(help="Colour photographs that the model has not been trained on.")
    ],
    model: ScoringModel = None,
    protocol: Annotated[
        Protocol | None,
        typer.Option(
            help="256: the published protocol, on squares of 256 px; else each photograph's own size."
        ),
    ] = None,
) -> None:
    """Judge a model on other photographs, beside grey; with 95 % intervals."""
    from tintlab.evaluation.folder import PUBLISHED_SIDE, evaluate_folder
    from tintlab.registry.models import default_spec, locate
    from tintlab.reports.evaluation import metrics_text
    from tintlab.reports.intervals import intervals_text

    located = locate(model or default_spec())
    found = evaluate_folder(folder, located.folder, PUBLISHED_SIDE if protocol else None)
    name = str(located.folder) if located.name == "local" else located.name
    size = f"squares of {PUBLISHED_SIDE} px" if protocol else "each at its own size"
    console.say(
        f"{name} (weights {located.weights_sha256[:16]}) on {len(found.per_photo)} photographs, {size}"
    )
    if found.intervals.empty:
        console.say(metrics_text(found.totals))
    else:
        console.say(intervals_text(found.intervals, float(found.per_photo["colourfulness_true"].mean())))


@app.command(epilog="Example: `tintlab sheet docs/sheet.jpg -n 40`")
def sheet(
    output: Annotated[Path, typer.Argument(help="A JPEG file to write.")],
    model: ScoringModel = None,
    photos: Annotated[
        int,
        typer.Option(
            "--number", "-n", "--photos", min=1, help="How many test photographs, the first by name."
        ),
    ] = 40,
) -> None:
    """Draw test photographs on one sheet: grey, coloured, true."""
    from tintlab.operations.sheet import make_sheet

    console.say(make_sheet(output, model, photos))


@app.command(epilog="Example: `tintlab drift coloured/` · Status 0: no drift; 2: drift.")
def drift(
    place: Annotated[Path, typer.Argument(help="What `tintlab score` wrote into, or its manifest.parquet.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="Compare with the training photographs of this model; by default the one that scored."
        ),
    ] = None,
) -> None:
    """Compare scored photographs with the training photographs, and record the drift in MLflow."""
    from tintlab.scoring import drift_report

    rules = load_params().drift if paths.PARAMS.exists() else None
    report, recorded = drift_report.report_again(place, model, rules)
    if report.figures:
        console.print_table(drift_report.make_table(report))
    console.say(report.line())
    console.say(recorded)
    if report.verdict == "drift":
        raise typer.Exit(2)


@app.command(epilog="Examples: `tintlab gc --dry-run` · `tintlab gc --keep 3 --days 7 --yes`")
def gc(
    keep: Annotated[int, typer.Option(min=0, help="Keep the newest of each kind, this many.")] = 10,
    days: Annotated[float, typer.Option(min=0, help="Keep everything younger than this.")] = 30,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove unused versions, runs, experiments, cached data and abandoned trainings.

    All past and present champions stay, with the data that they were made from.
    """
    from tintlab.operations import gc

    rules = gc.Rules(keep, days)
    found = gc.plan(rules)
    console.say(gc.text(found))
    if dry_run or not found.items or not (yes or typer.confirm("Remove all of this?")):
        return
    freed = gc.carry_out(rules, found, lambda line: console.say(f"removing {line}"))
    console.say(f"{freed / 1e6:.1f} MB freed")


def main() -> None:
    """The program `tintlab`."""
    entry_point.run_owned(app)


if __name__ == "__main__":
    main()
