"""Locate the MLflow store, connect to it, and handle a store that is missing or can't be reached."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from tintlab.system import paths
from tintlab.system.console import one_line, say
from tintlab.system.entry_point import prepare_environment
from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_path
from tintlab.system.urls import without_userinfo
from tintlab.tracking import relocation
from tintlab.tracking.spool import hold_lock

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

T = TypeVar("T")

EXPERIMENT = "tintlab"
FINGERPRINT_TAG = "tintlab.fingerprint"

# One attempt without waiting for an absent server, instead of minutes: the caller tries again later.
_IMPATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
_QUIET = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", "MLFLOW_LOGGING_LEVEL": "WARNING"}
# MLflow's pages then show trainings instead of calls of language models.
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
_SERVERS = ("http", "https", "databricks")


class TrackingUnavailableError(TintlabError):
    """The MLflow store can't be reached now; nothing is lost."""


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or the SQLite store in the state folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{paths.tracking_database()}"


def is_default() -> bool:
    """Whether the store is the one in the state folder, and not one that `MLFLOW_TRACKING_URI` names."""
    given = os.environ.get("MLFLOW_TRACKING_URI")
    return not given or given == f"sqlite:///{paths.tracking_database()}"


def ui_page(path: str) -> str:
    """The part of a URL after `ADDRESS/` for a page of MLflow's UI, with the menu of trainings and models.

    Without the query, MLflow shows the menu of language models until the browser remembers another choice.
    The server has no setting for it.
    """
    return f"#/{path}?workflowType=machine_learning"


def store_exists() -> bool:
    """Whether the store can hold anything: a store other than the default one is assumed to exist.

    This creates nothing, so colouring in a folder that is not a project leaves no state there.
    """
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return True
    return paths.tracking_database().exists()


def require_store() -> None:
    """Check that there is a store, before a query would create one.

    Raises:
        TintlabError: there is no store.
    """
    if not store_exists():
        raise TintlabError(
            f"there is no registry in {paths.state()}: run this in the project's folder, or set "
            "MLFLOW_TRACKING_URI; `make run` fills a new one"
        )


def why_missing() -> str:
    """The message for a store that does not exist: why nothing can be read, and what to do."""
    return (
        f"there is no registry in {paths.state()}. Run this in the project's folder, or set TINTLAB_STATE or "
        "MLFLOW_TRACKING_URI; `make run` fills a new one"
    )


def prepare_store() -> None:
    """Create the default store, atomically, if it is in use and missing; this takes seconds.

    If the store was copied or moved with its checkout, its locations are corrected, see `relocation`.

    Raises:
        TintlabError: it was copied without its artifacts.
    """
    if not is_default():
        return
    database = paths.tracking_database()
    if database.exists():
        for former in relocation.follow(database):
            say(
                f"note: this store was in {former}; its records name {database.parent} from now on",
                error=True,
            )
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with hold_lock(database.parent):
        if not database.exists():
            with atomic_path(database) as temporary:
                new_client(f"sqlite:///{temporary}").search_experiments()


@contextmanager
def connect() -> Iterator["MlflowClient"]:
    """MLflow's client for the store, which is created if it is missing. The client does not wait or retry.

    Raises:
        TrackingUnavailableError: an error occurred in this context that is not a `TintlabError`.
    """
    with unavailable_on_error():
        prepare_store()
        yield new_client(tracking_uri())


def is_server(uri: str) -> bool:
    """Whether a tracking URI names a server instead of a database; a server decides where artifacts lie."""
    return urlsplit(uri).scheme in _SERVERS


def shown_uri() -> str:
    """The tracking URI, without a password."""
    return without_userinfo(tracking_uri(), tracking_uri())


def find_or_none(ask: Callable[..., T], *arguments: str) -> T | None:
    """The result of a query for one object by its name; None if MLflow has no such object."""
    from mlflow.exceptions import MlflowException

    try:
        return ask(*arguments)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def search_run(client: "MlflowClient", experiment: str, fingerprint: str) -> "Run | None":
    """The oldest run of a training that was not deleted."""
    same = f"tags.`{FINGERPRINT_TAG}` = '{fingerprint}'"
    runs = client.search_runs([experiment], same, max_results=1, order_by=["attributes.start_time ASC"])
    return runs[0] if runs else None


def experiment_id(client: "MlflowClient", name: str = EXPERIMENT) -> str:
    """The id of one of our experiments, which is created or undeleted if necessary."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        # A server chooses the location of its artifacts; for a database, this code has to.
        location = None if is_server(tracking_uri()) else paths.tracking_artifacts().as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=location, tags=_EXPERIMENT_TAGS))
        except MlflowException as error:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise error
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def new_client(uri: str) -> "MlflowClient":
    """MLflow's client for a store; it does not wait or retry."""
    prepare_environment()
    for name, value in (_IMPATIENCE | _QUIET).items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI") or uri)


@contextmanager
def unavailable_on_error() -> Iterator[None]:
    """Turn errors of MLflow, its database, its connection and the disk into `TrackingUnavailableError`."""
    try:
        yield
    except TintlabError:
        raise
    except Exception as error:
        reason = without_userinfo(one_line(error), tracking_uri())[:200]
        raise TrackingUnavailableError(
            f"MLflow at {shown_uri()} can't be reached ({reason}): nothing is lost, try again later"
        ) from error
