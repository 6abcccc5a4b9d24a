"""`tintlab …`: thin commands over the package. Heavy imports happen inside the commands that need them."""

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


def main() -> None:
    """The program `tintlab`."""
    program.run(app)


if __name__ == "__main__":
    main()
