"""Prefect for this project: settings, work pool, deployments, automations, and runs that died."""

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tintlab.system import console, entry_point, paths
from tintlab.system.errors import TintlabError
from tintlab.system.urls import redacted

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.events.schemas.automations import AutomationCore

T = TypeVar("T")

PREFECT_FILE = Path("prefect.yaml")
POOL = "tintlab"

HEARTBEAT_SECONDS = 30
"""Between two heartbeats of a run; Prefect's shortest interval."""

SILENT_SECONDS = 100
"""After this time without a heartbeat a run has crashed."""

_PENDING_SECONDS = 600
_DATABASE = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")
_DEPLOY_SECONDS = 300


def environment(prefect: str, mlflow: str) -> dict[str, str]:
    """The environment of Prefect's server, its worker and all flows. The user's own settings stay.

    Args:
        prefect: address of Prefect's server.
        mlflow: address of MLflow's server.
    """
    home = paths.services() / "prefect"
    ours = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        "PREFECT_WORKER_QUERY_SECONDS": "5",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_SERVER_DATABASE_TIMEOUT": "60",  # SQLite's writers wait for each other on a busy machine
        # A restart of the server must not end the runs that it left unanswered.
        "PREFECT_CLIENT_MAX_RETRIES": "10",
    }
    if not any(name in os.environ for name in _DATABASE):
        ours[_DATABASE[0]] = f"sqlite+aiosqlite:///{home}/prefect.db"
    given = entry_point.TELEMETRY_OPT_OUT | ours | os.environ
    return given | {
        "PREFECT_API_URL": f"{prefect}/api",
        "MLFLOW_TRACKING_URI": mlflow,
        "TINTLAB_STATE": str(paths.state()),
        "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", ""),
    }


def set_up(settings: Mapping[str, str]) -> None:
    """Create the pool, the deployments of prefect.yaml, and the automations. Existing ones stay.

    Args:
        settings: see `environment`. The server must answer.

    Raises:
        TintlabError: Prefect refused one; the message is Prefect's.
    """
    _with_client(settings, _make_pool)
    _deploy(settings)
    _with_client(settings, _make_automations)


def end_orphaned_runs(settings: Mapping[str, str]) -> int:
    """Mark the runs that Prefect takes for running in our pool as crashed or cancelled. Returns their number.

    Call it only while the pool has no worker: a run ends with its worker.
    """
    return _with_client(settings, _end_orphaned_runs)


def worker_command(name: str) -> list[str]:
    """The command that runs a worker of our pool, with its display name."""
    pool = ["--pool", POOL, "--type", "process", "--name", name]
    return [sys.executable, "-m", "prefect", "worker", "start", *pool]


def has_worker(settings: Mapping[str, str]) -> bool:
    """Whether our pool has a worker that looks for runs."""
    return _with_client(settings, _has_worker)


def automations() -> list["AutomationCore"]:
    """Rules by which the server ends runs whose worker died together with its machine."""
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    def rule(name: str, after: str, seconds: int, state: StateType, message: str) -> AutomationCore:
        return AutomationCore(
            name=f"tintlab: {name}",
            trigger=EventTrigger(
                after={after},
                # Any event: the event of a state carries the state's name, and ours have names of their own.
                expect={"prefect.flow-run.*"},
                match={"prefect.resource.id": "prefect.flow-run.*"},
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=timedelta(seconds=seconds),
            ),
            actions=[ChangeFlowRunState(name=None, state=state, message=message, force=False)],
        )

    silent, unstarted, uncancelled = (
        f"prefect.flow-run.{name}" for name in ("heartbeat", "Pending", "Cancelling")
    )
    return [
        rule("silent runs have crashed", silent, SILENT_SECONDS, StateType.CRASHED, "no heartbeat"),
        rule(
            "runs that never start have crashed",
            unstarted,
            _PENDING_SECONDS,
            StateType.CRASHED,
            "its worker died before the run began",
        ),
        rule(
            "cancelled runs of a dead worker are cancelled",
            uncancelled,
            SILENT_SECONDS,
            StateType.CANCELLED,
            "its worker died before it could end the run",
        ),
    ]


async def _make_pool(client: "PrefectClient") -> None:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    with suppress(ObjectAlreadyExists):
        await client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))


async def _make_automations(client: "PrefectClient") -> None:
    for automation in automations():
        known = await client.read_automations_by_name(automation.name)
        # A replaced automation forgets the runs that it waits for, so replace only those that differ.
        digest = hashlib.sha256(automation.model_dump_json(exclude={"description"}).encode()).hexdigest()[:16]
        marked = automation.model_copy(update={"description": f"made by `tintlab up` ({digest})"})
        if any(one.description == marked.description for one in known):
            continue
        for one in known:
            await client.delete_automation(one.id)
        await client.create_automation(marked)


async def _end_orphaned_runs(client: "PrefectClient") -> int:
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
        WorkPoolFilter,
        WorkPoolFilterName,
    )
    from prefect.client.schemas.objects import State, StateType
    from prefect.states import Cancelled, Crashed

    under_way = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    found = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=under_way))),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL])),
    )
    for run in found:
        was_cancelled = run.state_type == StateType.CANCELLING
        state: State[Any] = (Cancelled if was_cancelled else Crashed)(message="its worker died")
        await client.set_flow_run_state(run.id, state, force=True)
    return len(found)


async def _has_worker(client: "PrefectClient") -> bool:
    workers = await client.read_workers_for_work_pool(POOL)
    return any(worker.status == "ONLINE" for worker in workers)


def _with_client(settings: Mapping[str, str], work: Callable[["PrefectClient"], Coroutine[Any, Any, T]]) -> T:
    os.environ.update({name: value for name, value in settings.items() if name.startswith("PREFECT_")})
    from httpx import TransportError
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    async def call() -> T:
        async with get_client() as client:
            return await work(client)

    try:
        return asyncio.run(call())
    except PrefectHTTPStatusError as error:
        raise TintlabError(f"Prefect refused: {redacted(console.one_line(error))[:300]}") from None
    except TransportError:
        address = redacted(settings["PREFECT_API_URL"])
        raise TintlabError(f"Prefect's server does not answer at {address}") from None


def _deploy(settings: Mapping[str, str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        env=dict(settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_DEPLOY_SECONDS,
        check=False,
    )
    if ended.returncode != 0:
        output = redacted((ended.stdout + ended.stderr).strip())
        raise TintlabError(f"{PREFECT_FILE} was not deployed: {' '.join(output.split())[-400:]}")
