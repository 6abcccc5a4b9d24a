"""The pipeline as one command: run DVC, deliver its runs to MLflow, print a summary."""

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

from tintlab.operations import dvc_repair, links
from tintlab.reports import evaluation as evaluation_page
from tintlab.sources import lock as sources_lock
from tintlab.system import code_lock, console, paths, processes, suggestions
from tintlab.system.console import one_line
from tintlab.system.errors import TintlabError
from tintlab.system.files import read_json, write_json
from tintlab.tracking import delivery, lineage, store, training_runs

_COPY_SECONDS = 1.0
"""Between two checks of dvc.lock while DVC works."""


def repro(preset: str | None, overrides: list[str], experiment: str | None = None) -> None:
    """Run `dvc repro`, or `dvc exp run -S …` with overrides; then sync and print a summary.

    With `experiment`, always run an experiment of this name.

    Raises:
        TintlabError: the preset is unknown, or a stage failed.
    """
    settings = [*(preset_overrides(preset) if preset else []), *overrides]
    arguments = ["repro"]
    if settings or experiment:
        arguments = ["exp", "run", *(part for one in settings for part in ("-S", one))]
        arguments += ["--name", experiment] if experiment else []
    _refuse_without_git()
    processes.watch_owners()
    for line in (*dvc_repair.repair(), code_lock.refresh() if code_lock.is_used() else ""):
        if line:
            print(line, flush=True)
    record_inbox()
    status = run_dvc(arguments)
    print(sync())
    if status != 0:
        raise TintlabError("the pipeline stopped: the reason stands above")
    print(summary())
    if settings and not experiment:
        print("params.yaml now holds the overrides; `git checkout params.yaml` brings the defaults back.")


def _refuse_without_git() -> None:
    """DVC needs a git repository with a commit; an unpacked archive of the release is none.

    Raises:
        TintlabError: this folder is none.
    """
    if not lineage.is_committed():
        raise TintlabError(
            "this folder is no git repository with a commit, which DVC needs: run "
            "`git init && git add -A && git commit -m start`, then again"
        )


def record_inbox() -> None:
    """Record the content of the inbox, so that experiments in DVC's temporary copies train on it too.

    An empty inbox is not recorded over a full one: on another machine its photographs may be missing, and `fetch`
    says so.
    """
    recorded = read_json(paths.SOURCES_LOCK) if paths.SOURCES_LOCK.exists() else {}
    known = recorded.get(sources_lock.INBOX)
    now = sources_lock.inbox_entry(paths.INBOX)
    if now and now != known:
        write_json(paths.SOURCES_LOCK, sources_lock.record_inbox(recorded, paths.INBOX))
        before = f" ({known['files']} before)" if known else ""
        console.say(f"recorded {paths.INBOX}: {now['files']} files{before}, in {paths.SOURCES_LOCK}")


def run_dvc(arguments: list[str]) -> int:
    """Run DVC, and back up dvc.lock whenever it changes. Returns DVC's status.

    When this process is asked to stop, it asks the stage to stop and lets DVC end by itself: a killed DVC would
    leave dvc.lock half written.
    """
    dvc = subprocess.Popen([sys.executable, "-m", "dvc", *arguments], env=_environment())
    try:
        while True:
            with suppress(subprocess.TimeoutExpired):
                return dvc.wait(_COPY_SECONDS)
            dvc_repair.back_up_dvc_lock()
    except processes.Interrupted:
        with suppress(psutil.Error):
            for stage in _stages(psutil.Process(dvc.pid)):
                stage.terminate()
        # DVC reacts to Ctrl-C between stages; SIGTERM would end it at once.
        dvc.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            dvc.wait(processes.LEAVE_SECONDS - 1)
        raise
    finally:
        dvc_repair.back_up_dvc_lock()


def _stages(dvc: psutil.Process) -> Iterator[psutil.Process]:
    """The stage that DVC runs now, without its child processes. DVC may start it through a shell."""
    for child in dvc.children():
        yield from child.children() if child.name() in processes.SHELLS else [child]


def preset_overrides(name: str) -> list[str]:
    """Read presets/NAME.yaml as `section.key=value`, the form that `dvc exp run -S` takes.

    Raises:
        TintlabError: the preset is unknown.
    """
    return [
        f"{section}.{key}={_hydra(value)}"
        for section, keys in read_preset(name).items()
        for key, value in keys.items()
    ]


def read_preset(name: str) -> dict[str, dict[str, Any]]:
    """Read presets/NAME.yaml: the keys that it sets, by section.

    Raises:
        TintlabError: the preset is unknown.
    """
    known = suggestions.preset_names()
    if name not in known:
        raise TintlabError(f"there is no preset {suggestions.shown(name)}: {suggestions.advise(name, known)}")
    sections: dict[str, dict[str, Any]] = YAML(typ="safe").load(paths.PRESETS / f"{name}.yaml")
    return sections


def sync() -> str:
    """Deliver waiting records to MLflow, and create a run for a model without one. Returns a line about it.

    If MLflow is out of reach, the line says so, and nothing is lost.
    """
    try:
        delivered = delivery.sync()
        if not (paths.METRICS.exists() and (paths.GENERATOR / paths.MODEL_CONFIG).exists()):
            return f"{delivered} records delivered to MLflow"
        run = training_runs.restore_missing_run()
    except store.TrackingUnavailableError as error:
        return one_line(error)
    return f"{delivered} records delivered to MLflow; the model's run is {run}"


def summary() -> str:
    """The figures of the present model beside the baselines, and where to find the rest."""
    metrics = read_json(paths.METRICS)
    return "\n".join(
        [
            evaluation_page.metrics_text(metrics),
            f"model     {paths.GENERATOR}/",
            f"report    {paths.REPORT_PAGE}",
            f"data      {paths.VALIDATION_PAGE}",
            f"runs      `tintlab ui` ({store.shown_uri()})",
        ]
    )


def serve_ui(port: int) -> None:
    """Sync, then serve MLflow's UI on 127.0.0.1 until Ctrl-C; if a server runs already, print its pages.

    Raises:
        TintlabError: another program listens on the port.
    """
    print(sync())
    uri = store.tracking_uri()
    running = links.find_running()
    if running or store.is_server(uri):
        told = "`tintlab up` serves MLflow already" if running else "MLflow is served already"
        _say_pages(running.mlflow if running else uri, told)
        return
    links.refuse_taken(port, f"with `tintlab ui --port {port + 1}`")
    store.prepare_store()
    _say_pages(f"http://127.0.0.1:{port}", "MLflow, until Ctrl-C")
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    # In the environment: everyone on the machine can read the passwords in a command line.
    subprocess.run(command, env=_environment() | {"MLFLOW_BACKEND_STORE_URI": uri}, check=False)


def _say_pages(address: str, headline: str) -> None:
    console.say(
        "\n".join([f"{headline}:", *(f"{name:16}{url}" for name, url in links.mlflow_pages(address))])
    )


def _hydra(value: Any) -> str:
    """A value in the grammar of -S, which is Hydra's: None is `null`, and lists have no spaces."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ",".join(_hydra(inner) for inner in value) + "]"
    if isinstance(value, dict):
        # A quoted text may hold the colons of a URL.
        quoted = {
            key: f"'{inner}'" if isinstance(inner, str) else _hydra(inner) for key, inner in value.items()
        }
        return "{" + ",".join(f"{key}:{inner}" for key, inner in quoted.items()) + "}"
    return str(value)


def _environment() -> dict[str, str]:
    # DVC runs the stages with `python`: it must be this one, even if .venv is not activated.
    here = str(Path(sys.executable).parent)
    search = here + os.pathsep + os.environ.get("PATH", "")
    # Threads that spin while they wait slow each other down as soon as the machine does anything else.
    polite = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
    return polite | os.environ | processes.ownership() | {"PATH": search}
