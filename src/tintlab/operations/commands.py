"""`tintlab up`, `worker`, `ui`, `env`, `sync` and `doctor`; heavy imports happen inside of them."""

from typing import Annotated

import typer

from tintlab.system import console

app = typer.Typer()


@app.command(epilog="`tintlab repro` does it by itself; needed after a plain `dvc repro` or an outage.")
def sync() -> None:
    """Deliver waiting records to MLflow; create a run for a model restored from DVC's cache."""
    from tintlab.operations import pipeline

    console.say(pipeline.sync())


@app.command(epilog="Example: `tintlab ui --port 5001`")
def ui(port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 5000) -> None:
    """Browse the runs in MLflow's UI, on this machine only."""
    from tintlab.operations import pipeline

    pipeline.serve_ui(port)


@app.command(epilog='Example: `eval "$(tintlab env)"`')
def env() -> None:
    """Print exports for a shell, so that `mlflow` and `prefect` find this project's stores and services."""
    from tintlab.operations import links

    console.say(links.exports())


@app.command(epilog="Then: `prefect deployment run retrain/manual`")
def up(
    mlflow_port: Annotated[int, typer.Option(help="MLflow's port on 127.0.0.1.")] = 5000,
    prefect_port: Annotated[int, typer.Option(help="Prefect's port on 127.0.0.1.")] = 4200,
    studio_port: Annotated[int, typer.Option(help="The studio's port on 127.0.0.1.")] = 8400,
) -> None:
    """Run MLflow, Prefect, a worker and the studio on this machine until Ctrl-C; deploy the scheduled flows."""
    from tintlab.operations import services

    services.up(mlflow_port, prefect_port, studio_port)


@app.command(epilog="Example: `PREFECT_API_URL=http://prefect:4200/api tintlab worker`")
def worker() -> None:
    """Deploy the scheduled flows to a Prefect server that runs elsewhere, and run them here until Ctrl-C."""
    from tintlab.operations import worker

    worker.work()


@app.command(epilog="Status 0: all is well; 1: something needs attention.")
def doctor() -> None:
    """Check versions, devices, disk, MLflow, locks and unfinished trainings; advise."""
    from tintlab.operations import doctor

    findings = doctor.examine()
    console.say(doctor.text(findings))
    if any(finding.advice for finding in findings):
        raise typer.Exit(1)
