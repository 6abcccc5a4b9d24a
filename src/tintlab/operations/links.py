"""Addresses: links to the useful pages of MLflow and Prefect, and exports for a shell."""

import shlex
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass

from tintlab.registry import champion, history, models, verdicts
from tintlab.registry.history import MODEL_NAME
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import read_json, write_json
from tintlab.system.locks import find_holder
from tintlab.system.urls import redacted
from tintlab.tracking import store


@dataclass(frozen=True)
class Addresses:
    """Addresses of the services.

    Attributes:
        mlflow: of MLflow's server, or the server that `MLFLOW_TRACKING_URI` names.
        prefect: of Prefect's UI; the API is at /api.
        studio: the page and the plain HTTP interface.
    """

    mlflow: str
    prefect: str
    studio: str


def record(addresses: Addresses) -> None:
    """Let other commands know where the services of `tintlab up` are."""
    write_json(paths.services() / "addresses.json", asdict(addresses))


def find_running() -> Addresses | None:
    """The services of a `tintlab up` that runs now; None without one."""
    if not find_holder(paths.services() / "up.lock"):
        return None
    with suppress(FileNotFoundError, TintlabError, TypeError):
        return Addresses(**read_json(paths.services() / "addresses.json"))
    return None


def refuse_taken(port: int, options: str) -> None:
    """Refuse a port of this machine that another program listens on.

    Args:
        port: that a service shall have.
        options: how to choose another one, for the message.

    Raises:
        TintlabError: it is in use.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise TintlabError(
                f"port {port} on 127.0.0.1 is in use: end the program that listens there, "
                f"or choose another {options}"
            ) from None


def mlflow_pages(address: str) -> list[tuple[str, str]]:
    """Links to MLflow's pages, by name: training runs, and champion and latest verdict if there are any."""
    base = redacted(address).rstrip("/")
    with suppress(store.TrackingUnavailableError):
        return [(name, f"{base}/{store.ui_page(page)}") for name, page in _pages()]
    return [("MLflow", base)]


def prefect_pages(address: str) -> list[tuple[str, str]]:
    """Links to Prefect's pages, by name."""
    return [("deployments", f"{address}/deployments"), ("runs", f"{address}/runs")]


def exports() -> str:
    """Export lines for a shell, so that `mlflow` and `prefect` use the same services as our commands."""
    running = find_running()
    values = {"MLFLOW_TRACKING_URI": running.mlflow if running else store.tracking_uri()}
    values |= {"TINTLAB_STATE": str(paths.state())}
    if running:
        values["PREFECT_API_URL"] = f"{running.prefect}/api"
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in values.items())


def _pages() -> Iterator[tuple[str, str]]:
    with store.connect() as client:
        experiment = store.experiment_id(client)
        yield "training runs", f"experiments/{experiment}/runs"
        if history.registered_model(client, MODEL_NAME) is None:
            return
        yield "models", f"models/{MODEL_NAME}"
        known = history.read(client).champion
        if known:
            yield champion.CHAMPION, f"models/{MODEL_NAME}/versions/{known.version}"
        for version in reversed(models.list_versions(client)):
            if verdicts.VERDICT_TAG in version.tags and version.run_id:
                run = client.get_run(version.run_id)
                link = verdicts.verdict_link(run.info.experiment_id, run.info.run_id, int(version.version))
                yield "latest verdict", link
                return
