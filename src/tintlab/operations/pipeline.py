"""The pipeline as one command: DVC does the work, its runs reach MLflow, a summary ends it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML

from tintlab.operations import dvc_repair
from tintlab.reports import evaluation as evaluation_page
from tintlab.system import paths, processes
from tintlab.system.console import one_line
from tintlab.system.errors import TintlabError
from tintlab.system.files import read_json
from tintlab.tracking import delivery, store, training_runs

_COPY_SECONDS = 1.0
"""Between two looks at dvc.lock while DVC works."""


def repro(preset: str | None, overrides: list[str], experiment: str | None = None) -> None:
    """Run `dvc repro`, or `dvc exp run -S …` where there is something to override; then sync and summarise.

    With `experiment`, it is an experiment of this name in any case.

    Raises:
        TintlabError: no such preset, or a stage failed.
    """
    settings = [*(preset_overrides(preset) if preset else []), *overrides]
    arguments = ["repro"]
    if settings or experiment:
        arguments = ["exp", "run", *(part for one in settings for part in ("-S", one))]
        arguments += ["--name", experiment] if experiment else []
    processes.watch_owners()
    for mended in dvc_repair.mend():
        print(mended, flush=True)
    status = run_dvc(arguments)
    print(sync())
    if status != 0:
        raise TintlabError("the pipeline stopped: the reason stands above")
    print(summary())
    if settings and not experiment:
        print("params.yaml now holds the overrides; `git checkout params.yaml` brings the defaults back.")


def run_dvc(arguments: list[str]) -> int:
    """Run DVC, and keep a copy of dvc.lock whenever it has changed; DVC's status.

    When this process is asked to leave, the stage is asked too, and DVC may end by itself: killed, it would
    leave dvc.lock as it stands.
    """
    dvc = subprocess.Popen([sys.executable, "-m", "dvc", *arguments], env=_environment())
    try:
        while True:
            with suppress(subprocess.TimeoutExpired):
                return dvc.wait(_COPY_SECONDS)
            dvc_repair.keep_dvc_lock()
    except processes.Interrupted:
        with suppress(psutil.Error):
            for stage in _stages(psutil.Process(dvc.pid)):
                stage.terminate()
        # DVC heeds Ctrl-C, between stages; SIGTERM would end it on the spot.
        dvc.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            dvc.wait(processes.LEAVE_SECONDS - 1)
        raise
    finally:
        dvc_repair.keep_dvc_lock()


def _stages(dvc: psutil.Process) -> Iterator[psutil.Process]:
    """The stage that DVC runs now, below the shell that it may use; not the stage's own processes."""
    for child in dvc.children():
        yield from child.children() if child.name() in processes.SHELLS else [child]


def preset_overrides(name: str) -> list[str]:
    """The settings of presets/NAME.yaml as `section.key=value`, the way `dvc exp run -S` takes them.

    Raises:
        TintlabError: there is no such preset.
    """
    path = paths.PRESETS / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(preset.stem for preset in paths.PRESETS.glob("*.yaml")))
        raise TintlabError(f"there is no preset {name!r}: known are {known}")
    sections: dict[str, dict[str, Any]] = YAML(typ="safe").load(path)
    return [
        f"{section}.{key}={_hydra(value)}"
        for section, keys in sections.items()
        for key, value in keys.items()
    ]


def sync() -> str:
    """Deliver to MLflow what waits, and make a run for a model that has none; a line that says what was done.

    MLflow out of reach is no failure: the line says so, and nothing is lost.
    """
    try:
        delivered = delivery.sync()
        # The figures are in git, the model is not: a clone in which nothing was built has no model.
        if not (paths.METRICS.exists() and (paths.GENERATOR / paths.MODEL_CONFIG).exists()):
            return f"{delivered} records delivered to MLflow"
        run = training_runs.restore_missing_run()
    except store.TrackingUnavailableError as error:
        return one_line(error)
    return f"{delivered} records delivered to MLflow; the model's run is {run}"


def summary() -> str:
    """The figures of the present model beside the baselines, and where to look."""
    metrics = read_json(paths.METRICS)
    return "\n".join(
        [
            evaluation_page.metrics_text(metrics),
            f"model     {paths.GENERATOR}/",
            f"report    {paths.REPORT_PAGE}",
            f"data      {paths.VALIDATION_PAGE}",
            f"runs      `make ui` ({store.shown_uri()})",
        ]
    )


def serve_ui(port: int) -> None:
    """Serve MLflow's UI on 127.0.0.1 until Ctrl-C, after a sync; a server that is there already is only named."""
    print(sync())
    uri = store.tracking_uri()
    if store.is_server(uri):
        print(f"MLflow: {store.shown_uri()}")
        return
    store.prepare_store()
    print(f"MLflow: http://127.0.0.1:{port}", flush=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    # By the environment, for a command line shows passwords to everyone on the machine.
    subprocess.run(command, env=_environment() | {"MLFLOW_BACKEND_STORE_URI": uri}, check=False)


def _hydra(value: Any) -> str:
    """A value in the grammar of -S (Hydra's), where None is `null` and lists have no spaces."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ",".join(_hydra(inner) for inner in value) + "]"
    return str(value)


def _environment() -> dict[str, str]:
    # DVC runs the stages' `python`: it must be this one, also when .venv is not activated.
    here = str(Path(sys.executable).parent)
    search = here + os.pathsep + os.environ.get("PATH", "")
    # Threads that spin while they wait slow each other several times as soon as the machine does anything else.
    polite = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
    return polite | os.environ | processes.ownership() | {"PATH": search}
