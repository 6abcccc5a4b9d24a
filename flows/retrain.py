"""retrain: train on what changed, judge the model against the champion, promote it if better, publish a page."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from prefect import State, flow, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from flows import common, pages
from flows.stages import StageClock
from tintlab.operations import retrain_clone
from tintlab.registry import history, models
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.locks import HeldError
from tintlab.system.params import load_params
from tintlab.tracking import delivery, store


@flow
def retrain(
    preset: common.Preset | None = None,
    overrides: list[str] | None = None,
    force: bool = False,
    promote: bool = True,
    wait_hours: Annotated[float, Field(ge=0)] = 12.0,
    cause: str = "",
) -> State[Any]:
    """Train on the present data, register and judge the model, and promote it if it is better.

    Works in a clone of the last commit; the user's working tree is never touched. It ends as `NothingToDo` if
    nothing has changed since the last time, and as `UnderWay` if another retraining is running.

    Args:
        preset: of presets/, as in `tintlab repro --preset`.
        overrides: as in `tintlab repro -S`, such as `train.epochs=20`.
        force: train again with another seed although nothing has changed.
        promote: make the model champion if the verdict allows it.
        wait_hours: longest wait for a training that was started by hand.
        cause: the reason for this run, for the page.
    """
    common.start_flow()
    try:
        with retrain_clone.hold_lock():
            return _Retraining(preset, overrides or [], promote, wait_hours, cause).run(force)
    except HeldError as error:
        return Completed(name="UnderWay", message=str(error))


class _Retraining:
    """One retraining, under the lock of the clone."""

    def __init__(
        self, preset: str | None, overrides: Sequence[str], promote: bool, wait_hours: float, cause: str
    ) -> None:
        self.preset = preset
        self.overrides = overrides
        self.promote = promote
        self.cause = cause
        self.environment = {"TINTLAB_WAIT": str(wait_hours * 3600)}
        self.experiment = f"retrain-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        self.clock = StageClock()
        self.workspace: retrain_clone.Workspace | None = None
        self.champion_stays = True

    def run(self, force: bool) -> State[Any]:
        try:
            prepared = self.workspace = prepare(Path.cwd())
            refresh_sources(prepared)
            settings = {"preset": self.preset, "overrides": list(self.overrides), "promote": self.promote}
            digest = retrain_clone.inputs_digest(prepared, settings)
            last = retrain_clone.read_last_retraining()
            known = last.get("digest") == digest
            repeats = last["repeats"] if known else 0
            if known and not force:
                return Completed(
                    name="NothingToDo",
                    message=f"nothing has changed since {last['experiment']}; `force` trains again",
                )
            if force:
                repeats += 1
            self._build(prepared, repeats)
            outcome = self._judge(prepared)
        except TintlabError as error:
            return self._fail(str(error))
        retrain_clone.record_retraining(digest, repeats, self.experiment)
        common.notify(f"tintlab retrain: {outcome.name}", f"{outcome.message}\n{common.run_link()}")
        return outcome

    def _build(self, prepared: retrain_clone.Workspace, repeats: int) -> None:
        overrides = list(self.overrides)
        if repeats and not any(one.startswith("train.seed=") for one in overrides):
            # A forced training that was killed and repeated has the same seed, so it resumes.
            seed = load_params(prepared.folder / paths.PARAMS).train.seed + repeats
            overrides.append(f"train.seed={seed}")
        arguments = ["--experiment", self.experiment, *(["--preset", self.preset] if self.preset else [])]
        arguments += [part for one in overrides for part in ("-S", one)]
        repro(prepared, arguments, self.environment, self.clock)
        fetch_experiment(prepared, self.experiment)

    def _judge(self, prepared: retrain_clone.Workspace) -> State[Any]:
        deliver(prepared)
        head = read_head()
        version = register(prepared)
        judge(prepared)
        if self.promote:
            self.champion_stays = False
            promote_if_passed(prepared, version)
        facts = read_facts(prepared, version, head)
        pages.publish_page(facts, prepared, self.experiment, self.clock, self.cause)
        return Completed(name=facts.outcome, message=facts.sentence)

    def _fail(self, reason: str) -> State[Any]:
        pages.publish_failure(reason, self.workspace, self.champion_stays, self.clock, self.cause)
        common.notify("tintlab retrain failed", f"{reason}\n{common.run_link()}")
        return Failed(message=reason)


@task(cache_policy=NO_CACHE)
def prepare(repository: Path) -> retrain_clone.Workspace:
    """Set the clone to the last commit and the present inbox."""
    prepared = retrain_clone.prepare(repository)
    logger = get_run_logger()
    logger.info("commit %s in %s", prepared.commit[:12], prepared.folder)
    if prepared.left_out:
        logger.warning("not committed, so not used: %s", "; ".join(prepared.left_out))
    return prepared


@task(retries=2, retry_delay_seconds=30, cache_policy=NO_CACHE)
def refresh_sources(prepared: retrain_clone.Workspace) -> None:
    """Record the present content of the sources, which may be on a network."""
    if load_params(prepared.folder / paths.PARAMS).fetch.sources:
        _tintlab(prepared, "sources", "refresh")


@task(cache_policy=NO_CACHE)
def repro(
    prepared: retrain_clone.Workspace,
    arguments: Sequence[str],
    environment: dict[str, str],
    clock: StageClock,
) -> None:
    """Run the pipeline as a DVC experiment, with its lines in the log and its stages as a progress bar."""
    bar = create_progress_artifact(0.0, key="retrain-progress", description="stages of the pipeline")

    def on_line(line: str) -> None:
        if clock.read(line):
            update_progress_artifact(bar, progress=100 * clock.share_done, description=clock.text)  # type: ignore[arg-type]

    try:
        common.run_tintlab(
            "repro", *arguments,
            folder=prepared.folder, environment=prepared.environment() | environment, on_line=on_line,
        )  # fmt: skip
    finally:
        clock.stop()
    update_progress_artifact(bar, progress=100.0)  # type: ignore[arg-type]


@task(cache_policy=NO_CACHE)
def fetch_experiment(prepared: retrain_clone.Workspace, experiment: str) -> None:
    """Make the experiment visible to `dvc exp show` in the user's repository."""
    if retrain_clone.fetch_experiment(prepared, experiment):
        get_run_logger().info("`dvc exp show` lists it as %s; `dvc exp apply` applies it", experiment)


@task(**common.NETWORK)
def deliver(prepared: retrain_clone.Workspace) -> None:
    """Wait until MLflow has every record of the training."""
    _tintlab(prepared, "sync")
    if left := sum(delivery.backlog().values()):
        raise store.TrackingUnavailableError(f"{left} records wait for MLflow at {store.shown_uri()}")


@task(**common.NETWORK)
def read_head() -> int:
    """Read the last entry of the history of champions, before this retraining changes it."""
    with store.connect() as client:
        return history.read(client).head


@task(**common.NETWORK)
def register(prepared: retrain_clone.Workspace) -> int:
    """Register the model as a version; its number."""
    _tintlab(prepared, "register")
    with store.connect() as client:
        return int(models.get_challenger(client).version)


@task(**common.NETWORK)
def judge(prepared: retrain_clone.Workspace) -> None:
    """Compare it with the champion."""
    _tintlab(prepared, "judge")


@task(**common.PROMOTION)
def promote_if_passed(prepared: retrain_clone.Workspace, version: int) -> None:
    """Promote it if the verdict says that it is better; else it is no longer the challenger."""
    _tintlab(prepared, "promote", str(version), "--if-passed")


@task(**common.NETWORK)
def read_facts(prepared: retrain_clone.Workspace, version: int, head: int) -> pages.Facts:
    """Read the outcome."""
    return pages.read_facts(prepared, version, head)


def _tintlab(prepared: retrain_clone.Workspace, *arguments: str) -> list[str]:
    return common.run_tintlab(*arguments, folder=prepared.folder, environment=prepared.environment())
