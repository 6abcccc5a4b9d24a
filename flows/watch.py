"""watch: start a retraining when there are enough new photographs; report drift of scored archives."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import State, flow, task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.states import Completed

from flows import common
from tintlab.operations import arrivals
from tintlab.system import paths
from tintlab.system.params import load_params
from tintlab.tracking.store import TrackingUnavailableError

ARRIVED = "tintlab.photographs.arrived"
"""The event that starts a retraining, by an automation in prefect.yaml."""


@dataclass(frozen=True)
class Finding:
    """A reason to act, once.

    Attributes:
        cause: a permanent identifier.
        text: a description.
    """

    cause: str
    text: str


@flow
def watch() -> State[Any]:
    """Look at the inbox, the sources and the drift of scored archives.

    Enough new colour photographs or a changed source start a retraining, once for each cause. Drift alone is only
    reported: training on the same photographs again would not help.
    """
    common.start_flow()
    known = arrivals.read_seen()
    came = [finding for finding in look_at_photographs(Path.cwd()) if finding.cause not in known]
    drifted = [finding for finding in look_for_drift() if finding.cause not in known]
    for finding in came:
        start_retraining(finding)
    if drifted and not came:
        text = "\n".join(finding.text for finding in drifted)
        common.notify("tintlab: scored photographs differ from the training photographs", text)
        get_run_logger().warning("%s", text)
    arrivals.remember({finding.cause for finding in (*came, *drifted)})
    if came:
        return Completed(name="SetOff", message="; ".join(finding.text for finding in came))
    if drifted:
        return Completed(name="Drifted", message="; ".join(finding.text for finding in drifted))
    return Completed(name="NothingNew", message="nothing new")


@task(cache_policy=NO_CACHE)
def look_at_photographs(repository: Path) -> list[Finding]:
    """Find new photographs, if there are enough, and changed sources."""
    params = load_params()
    new = arrivals.find_new_photographs(repository / paths.INBOX, paths.workspace() / paths.INBOX, params)
    get_run_logger().info("%d new files, %d or more are colour photographs", new.files, new.coloured)
    found = []
    if new.coloured >= params.watch.min_new_photos:
        found.append(Finding(new.digest, f"{new.files} new files in {paths.INBOX}"))
    changed = arrivals.find_changed_sources(params)
    if changed:
        cause = hashlib.sha256("\0".join(sorted(changed.values())).encode()).hexdigest()
        found.append(Finding(cause, f"changed: {', '.join(sorted(changed))}"))
    return found


@task(cache_policy=NO_CACHE)
def look_for_drift() -> list[Finding]:
    """Find archives that drifted; none if MLflow is away, because the next run asks again."""
    try:
        return [
            Finding(one.run_id, f"drift in {one.name} (MLflow run {one.run_id})")
            for one in arrivals.find_drifted_archives()
        ]
    except TrackingUnavailableError as error:
        get_run_logger().warning("%s", error)
        return []


@task(cache_policy=NO_CACHE)
def start_retraining(finding: Finding) -> None:
    """Emit the event for the automation that starts `retrain/manual`."""
    emit_event(
        event=ARRIVED,
        resource={"prefect.resource.id": "tintlab.inbox", "prefect.resource.name": "data/inbox"},
        payload={"cause": finding.text, "digest": finding.cause},
    )
