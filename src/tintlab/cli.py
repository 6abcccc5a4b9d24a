"""`tintlab …`: thin commands over the package. Heavy imports happen inside the commands that need them."""

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tintlab.explore import commands as explore
from tintlab.studio import commands as studio
from tintlab.system import console, entry_point, paths
from tintlab.system.params import load_params

if TYPE_CHECKING:
    pass

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
app.add_typer(explore.app, name="explore")
app.command(epilog="Example: `tintlab studio --open`")(studio.studio)
app.command(
    epilog="Examples: `tintlab colorize attic/*.jpg --output coloured/` · "
    "`tintlab colorize boat.jpg --hints hints.json --like postcard.jpg --warm 1 --variants 6`"
)(studio.colorize)

Model = Annotated[Path, typer.Option(help="Folder of a trained model.")]
WorkingSize = Annotated[int | None, typer.Option(min=32, help="What the network sees, about this squared.")]
ScoringModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="`base`, an alias, `models:/tintlab/3` or a folder; else the champion of this project, else `base`.",
    ),
]
Saturation = Annotated[float | None, typer.Option(min=0, help="Factor on the colours; 1 as learnt.")]


class Protocol(StrEnum):
    """Of `tintlab evaluate`."""

    published = "256"


@app.command(epilog="Examples: `tintlab repro` · `tintlab repro --preset smoke -S train.lambda_l1=50`")
def repro(
    preset: Annotated[str | None, typer.Option(help="Overrides from presets/NAME.yaml.")] = None,
    override: Annotated[
        list[str] | None, typer.Option("-S", "--set-param", help="One override, as in `train.seed=1`.")
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(help="Keep it as a DVC experiment of this name, in any case.")
    ] = None,
) -> None:
    """Run the pipeline: what is up to date is skipped. Overrides make it a `dvc exp run`."""
    from tintlab.operations import pipeline

    pipeline.repro(preset, override or [], experiment)


@sources_app.command("refresh", epilog="Run it after you changed fetch.sources or what lies there.")
def sources_refresh(
    parent: Annotated[
        str | None, typer.Option(help="Record this model to start from; train.init_from where none is named.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Record the sources and the parent that this preset names.")
    ] = None,
) -> None:
    """Record what each of `fetch.sources` holds now in data/sources.lock.json; copy what URLs name.

    And what `train.init_from` stands for, in data/parent.lock.json.
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


@sources_app.command("pull", epilog="Run it on a machine that has the repository, but not the archives.")
def sources_pull() -> None:
    """Copy the archives that data/sources.lock.json records and URLs name; refuse other bytes."""
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
            "or a quoted pattern."
        ),
    ],
    output: Annotated[Path, typer.Argument(help="Folder for the same tree in colour.")],
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
    workers: Annotated[int, typer.Option(min=0, help="Photographs at a time; 0: as the CPUs suggest.")] = 0,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Enter linked folders too; each file is coloured once.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
) -> None:
    """Colour an archive, each file with its origin; started again, it goes on where it was.

    OUTPUT/manifest.parquet says what became of each file, OUTPUT/quarantine.csv lists those that can't be used.
    Status 0: all photographs are coloured; 2: some are not, or a folder was not entered; 1: none is.
    """
    from tintlab.scoring import archive
    from tintlab.scoring.settings import Options, settings_for

    options = Options(file_format.value, quality, depth, saturation, working_size, workers, seed, variants)
    settings = settings_for(output, model, options)
    if dry_run:
        found = archive.plan_scoring(source, settings, follow_links)
        console.say(archive.preview(found))
        if not found.plan.is_complete:
            raise typer.Exit(2)
        return
    announce = partial(console.say, error=True)
    if status := archive.say_result(archive.score(source, settings, announce, follow_links)):
        raise typer.Exit(status)


@app.command(epilog="Example: `tintlab trace coloured/1931/harbour.png`")
def trace(file: Annotated[Path, typer.Argument(help="A file that tintlab has coloured.")]) -> None:
    """Tell where a coloured file came from: its model, run, parameters, commit and data."""
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


@app.command(epilog="Example: `tintlab sheet docs/sheet.jpg --photos 40`")
def sheet(
    output: Annotated[Path, typer.Argument(help="A JPEG file to write.")],
    model: ScoringModel = None,
    photos: Annotated[int, typer.Option(min=1, help="How many test photographs, the first by name.")] = 40,
) -> None:
    """Draw test photographs on one sheet: grey, coloured, true."""
    from tintlab.operations.sheet import make_sheet

    console.say(make_sheet(output, model, photos))


@app.command(
    epilog="Examples: `tintlab judge` · `tintlab judge models:/tintlab/4 --against models:/tintlab/2`"
)
def judge(
    challenger: Annotated[
        str, typer.Argument(help="An alias, `models:/tintlab/3`, or the folder of a model.")
    ] = "challenger",
    against: Annotated[
        str | None, typer.Option(help="Another one; the champion where none is named.")
    ] = None,
) -> None:
    """Judge a model against the champion: what the test photographs prove. Status 0, whatever the verdict."""
    from tintlab.registry import judging
    from tintlab.reports import verdict as verdict_page

    outcome = judging.judge(challenger, against)
    console.print_table(verdict_page.verdict_table(outcome.record))
    for line in filter(None, [*outcome.record["reasons"], verdict_page.sensitivity(outcome.record)]):
        console.say(line)
    kept = (
        f"; kept with version {outcome.record['version']}" if outcome.stored else "; not kept in the registry"
    )
    console.say(f"{verdict_page.verdict_line(outcome.record)} (page: {outcome.page}{kept})")


@app.command(epilog="Examples: `tintlab register` · `tintlab register --model ~/downloads/generator`")
def register(
    model: Annotated[
        str, typer.Option(help="A folder; `models:/tintlab/3` or an alias to register that one again.")
    ] = str(paths.GENERATOR),
) -> None:
    """Make a version of the model in MLflow's registry; it becomes the challenger."""
    from tintlab.registry import register

    done = register.register(model)
    verb = "is new" if done.new else "was registered before; nothing is made twice"
    console.say(f"version {done.version} {verb} (run {done.run_id}); it is the challenger")


@app.command(
    epilog="Examples: `tintlab promote` · `tintlab promote 3 --force --why 'the archive likes it better'`"
)
def promote(
    version: Annotated[int | None, typer.Argument(min=1, help="The challenger where none is named.")] = None,
    why: Annotated[str, typer.Option(help="Kept in the history.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Without a verdict; needs --why.")] = False,
    if_passed: Annotated[
        bool, typer.Option("--if-passed", help="Status 0 also where the verdict does not allow it.")
    ] = False,
) -> None:
    """Make a version champion, on a passing verdict for exactly this version."""
    from tintlab.registry import promotion, verdicts

    try:
        console.say(promotion.promote(version, why, force))
    except verdicts.NotPassedError as reason:
        if not if_passed:
            raise
        console.say(f"nothing is promoted: {reason}")


@app.command()
def adopt() -> None:
    """Make `base`, the model that ships with tintlab, a version and champion, where there is no champion yet."""
    from tintlab.registry import standing

    console.say(standing.adopt_base())


@app.command()
def champion() -> None:
    """Say which version is champion and why, and why the newest version is not."""
    from tintlab.registry import standing

    console.say(standing.describe_champion())


@app.command(
    epilog="Example: `tintlab rollback --why 'red skies'`; once more goes one champion further back."
)
def rollback(why: Annotated[str, typer.Option(help="Kept in the history.")] = "") -> None:
    """Bring back the champion before the present one."""
    from tintlab.registry import promotion

    console.say(promotion.rollback(why))


@app.command()
def models() -> None:
    """List the registered versions, their verdicts, and which one is champion."""
    from tintlab.registry import listing

    console.say(listing.list_models())


@app.command()
def history() -> None:
    """List who was champion from when to when, and why."""
    from tintlab.registry import listing

    console.say(listing.list_history())


@app.command(epilog="Example: `tintlab drift coloured/` · Status 0: no drift; 2: drift.")
def drift(
    place: Annotated[Path, typer.Argument(help="What `tintlab score` wrote into, or its manifest.parquet.")],
    model: Annotated[
        str | None, typer.Option(help="Compare with what this one was trained on; else the one that scored.")
    ] = None,
) -> None:
    """Tell how far scored photographs are from those that the model was trained on, and record it in MLflow."""
    from tintlab.scoring import drift_report

    rules = load_params().drift if paths.PARAMS.exists() else None
    report, recorded = drift_report.report_again(place, model, rules)
    if report.figures:
        console.print_table(drift_report.table(report))
    console.say(report.line())
    console.say(recorded)
    if report.verdict == "drift":
        raise typer.Exit(2)


@app.command(epilog="Examples: `tintlab gc --dry-run` · `tintlab gc --keep 3 --days 7 --yes`")
def gc(
    keep: Annotated[int, typer.Option(min=0, help="Keep this many of each kind, the newest.")] = 10,
    days: Annotated[float, typer.Option(min=0, help="Keep what is younger than this.")] = 30,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and end.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Prune versions, runs, experiments, DVC's cache and unfinished trainings that nothing needs.

    Champions, past ones too, and what they were made from stay in any case.
    """
    from tintlab.operations import gc

    rules = gc.Rules(keep, days)
    found = gc.plan(rules)
    console.say(gc.text(found))
    if dry_run or not found.items or not (yes or typer.confirm("Remove all of this?")):
        return
    freed = gc.carry_out(rules, found, lambda line: console.say(f"removing {line}"))
    console.say(f"{freed / 1e6:.1f} MB freed")


@app.command(epilog="Runs by itself after `tintlab repro`; needed after a plain `dvc repro` or an outage.")
def sync() -> None:
    """Deliver to MLflow what has not reached it; make a run for a model restored from DVC's cache."""
    from tintlab.operations import pipeline

    console.say(pipeline.sync())


@app.command(epilog="Example: `tintlab ui --port 5001`")
def ui(port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 5000) -> None:
    """Browse the runs in MLflow's UI, on this machine only."""
    from tintlab.operations import pipeline

    pipeline.serve_ui(port)


@app.command(epilog="Then: `prefect deployment run retrain/manual`")
def up(
    mlflow_port: Annotated[int, typer.Option(help="MLflow's port on 127.0.0.1.")] = 5000,
    prefect_port: Annotated[int, typer.Option(help="Prefect's port on 127.0.0.1.")] = 4200,
    studio_port: Annotated[int, typer.Option(help="The studio's port on 127.0.0.1.")] = 8400,
) -> None:
    """Start MLflow, Prefect, a worker and the studio on this machine, until Ctrl-C; deploy the schedules."""
    from tintlab.operations import services

    services.up(mlflow_port, prefect_port, studio_port)


@app.command(epilog="Status 0: all is well; 1: something is to be done.")
def doctor() -> None:
    """Look at versions, devices, disk, MLflow, locks and unfinished trainings; say what to do."""
    from tintlab.operations import doctor

    findings = doctor.examine()
    console.say(doctor.text(findings))
    if any(finding.advice for finding in findings):
        raise typer.Exit(1)


def main() -> None:
    """The program `tintlab`."""
    entry_point.run_owned(app)


if __name__ == "__main__":
    main()
