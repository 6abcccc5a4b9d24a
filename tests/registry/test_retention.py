"""`tintlab gc` on a real DVC repository and a real MLflow store: what goes, what stays, what faults leave."""

import itertools
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from dvc.repo import Repo
from mlflow import MlflowClient
from typer.testing import CliRunner

from tests.registry.conftest import make_model
from tests.tracking.test_sender import Server
from tintlab.cli import app
from tintlab.operations.gc import Plan, Rules, carry_out, plan, text
from tintlab.operations.gc import registry as registered
from tintlab.registry import history, promotion, register
from tintlab.registry import models as registry
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import write_json
from tintlab.system.locks import exclusive
from tintlab.tracking import interrupted, store
from tintlab.tracking.recorder import Recorder

FEW = Rules(keep=1, days=0)
"""The strictest that leaves something."""

STAGE = """stages:
  make:
    cmd: python -c "print('x' * 100000, open('params.yaml').read())" > out.txt
    params: [value]
    outs: [out.txt]
"""


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


def dvc(*arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def made(value: int) -> None:
    """Run the stage with a value; its output goes into DVC's cache."""
    Path("params.yaml").write_text(f"value: {value}\n")
    with Repo() as repo:
        repo.reproduce()


@pytest.fixture(scope="session")
def _dvc_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output 1 is in the history of main, 2 on a branch, 3 under a tag, 4 nowhere, 5 and 6 are experiments.

    And 7 is that of the workspace.
    """
    folder = tmp_path_factory.mktemp("dvc")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PATH", str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"])
        for role in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{role}_NAME", "test")
            patch.setenv(f"GIT_{role}_EMAIL", "test@localhost")
        git("init", "-q", "-b", "main")
        dvc("init", "-q")
        Path("dvc.yaml").write_text(STAGE)
        made(1)
        git("add", "-A")
        git("commit", "-qm", "first")
        git("checkout", "-qb", "side")
        made(2)
        git("commit", "-qam", "side")
        git("checkout", "-q", "--detach")
        made(3)
        git("commit", "-qam", "tagged")
        git("tag", "v3")
        git("checkout", "-q", "main")
        Path("README").write_text("a later commit without another output")
        git("add", "README")
        git("commit", "-qm", "second")
        made(4)
        for value in (5, 6):
            dvc("exp", "run", "-q", "-S", f"value={value}", "--name", f"try-{value}")
            time.sleep(1.1)  # commits have whole seconds
        made(7)
    return folder


@pytest.fixture
def repository(
    _dvc_repository: Path, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A copy of that repository, beside a store of three versions: 1 was champion, 3 is, 2 never was."""
    folder = tmp_path / "repository"
    shutil.copytree(_dvc_repository, folder, symlinks=True)
    monkeypatch.chdir(folder)
    promotion.promote(1, "the first", forced=True)
    promotion.promote(3, "a better one", forced=True)
    yield folder
    for kept in state.iterdir():
        if kept.name not in ("mlflow.db", "mlartifacts", "models"):
            shutil.rmtree(kept) if kept.is_dir() else kept.unlink()


@pytest.fixture
def client(state: Path) -> MlflowClient:
    with store.connect() as connected:
        return connected


def unfinished_training(fingerprint: str, iteration: int, moment: float) -> None:
    checkpoint = paths.checkpoints() / fingerprint / "checkpoints" / f"{iteration:08}-{0:016}.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(bytes(50_000))
    os.utime(checkpoint, (moment, moment))


def bytes_of(folder: Path) -> int:
    """Of all files but the database, which keeps its size, and logs."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files if path.suffix not in (".db", ".lock"))


def cached(folder: Path) -> set[int]:
    """The values of the outputs whose content is in DVC's cache."""
    files = [path for path in (folder / ".dvc" / "cache" / "files").rglob("*") if path.is_file()]
    return {int(path.read_text().rpartition("value: ")[2]) for path in files}


def experiments() -> list[str]:
    listed = git("for-each-ref", "--format=%(refname)", "refs/exps").split()
    return [name for name in listed if re.fullmatch(r"refs/exps/\w\w/\w{38}/.+", name)]


def prune(rules: Rules = FEW) -> Plan:
    found = plan(rules)
    carry_out(rules, found, lambda _: None)
    return found


def kinds(found: Plan) -> dict[str, int]:
    names = [item.kind for item in found.items]
    return {name: names.count(name) for name in names}


def files_of(client: MlflowClient, version: int) -> Path:
    return Path(unquote(urlsplit(client.get_model_version("tintlab", str(version)).source).path))


# --- DVC


def test_objects_that_git_or_the_workspace_refers_to_stay(repository: Path) -> None:
    assert cached(repository) == {1, 2, 3, 4, 5, 6, 7}
    found = prune()
    assert cached(repository) == {1, 2, 3, 6, 7}
    assert [item.name for item in found.items if item.kind == "experiment"] == ["try-5"]
    (objects,) = [item for item in found.items if item.kind == "DVC cache"]
    assert objects.bytes == pytest.approx(2 * 100_000, rel=0.01)
    assert [name.rpartition("/")[2] for name in experiments()] == ["try-6"]
    assert "up to date" in dvc("status")
    for revision, value in (("main", 1), ("side", 2), ("v3", 3)):
        git("checkout", "-qf", revision)
        with Repo() as repo:
            repo.checkout(force=True)
        assert (repository / "out.txt").read_text().endswith(f"value: {value}\n\n")


def test_the_experiment_that_made_a_champion_stays(repository: Path, client: MlflowClient) -> None:
    client.set_tag(client.get_model_version("tintlab", "1").run_id, "dvc.experiment", "try-5")
    found = prune()
    assert "experiment" not in kinds(found)
    assert cached(repository) == {1, 2, 3, 5, 6, 7}


def test_what_the_clone_of_retrainings_refers_to_stays(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = paths.workspace()
    clone.parent.mkdir(parents=True)
    git("clone", "-q", str(repository), str(clone))
    monkeypatch.chdir(clone)
    dvc("cache", "dir", "--local", str(repository / ".dvc" / "cache"))
    made(4)
    monkeypatch.chdir(repository)
    prune()
    assert cached(repository) == {1, 2, 3, 4, 6, 7}


def test_a_cache_that_others_may_use_is_left_alone(repository: Path, tmp_path: Path) -> None:
    shutil.move(repository / ".dvc" / "cache", tmp_path / "shared")
    dvc("cache", "dir", "--local", str(tmp_path / "shared"))
    found = prune()
    assert "DVC cache" not in kinds(found)
    assert "dvc gc --projects" in text(found)
    assert len([path for path in (tmp_path / "shared" / "files").rglob("*") if path.is_file()]) == 7


# --- MLflow


def test_rollback_restores_after_pruning(repository: Path, client: MlflowClient, tmp_path: Path) -> None:
    """Of four versions 1, 3 and 4 were champion; so 2 goes, and all its files."""
    promotion.promote(register.register(make_model(tmp_path / "4", 4)).version, "the best", forced=True)
    weights = {number: registry.locate(f"models:/tintlab/{number}").weights_sha256 for number in (1, 2, 3, 4)}
    files, run = files_of(client, 2), client.get_model_version("tintlab", "2").run_id
    before = bytes_of(paths.state())
    found = prune()
    assert kinds(found) == {
        "version": 1, "run": 1, "downloaded model": 1, "experiment": 1, "DVC cache": 1
    }  # fmt: skip
    assert not files.exists()
    assert not (paths.tracking_artifacts() / run).exists()
    with pytest.raises(TintlabError, match="no version 2"):
        registry.locate("models:/tintlab/2")
    in_state = sum(item.bytes for item in found.items if item.kind != "DVC cache")
    assert before - bytes_of(paths.state()) == in_state > 300_000
    shutil.rmtree(paths.downloaded_models())
    assert "version 3 is champion now" in promotion.rollback()
    assert "version 1 is champion now" in promotion.rollback()
    for number in (1, 3, 4):
        assert registry.locate(f"models:/tintlab/{number}").weights_sha256 == weights[number]
    assert registry.locate("champion").version == 1


def test_no_number_is_given_twice(repository: Path, client: MlflowClient, models: list[Path]) -> None:
    prune()
    assert register.register(models[1]).version == 4
    assert [int(version.version) for version in registry.list_versions(client)] == [1, 3, 4]


def test_a_champion_whose_run_was_put_into_the_trash_stays(repository: Path, client: MlflowClient) -> None:
    client.delete_run(client.get_model_version("tintlab", "1").run_id)
    prune()
    assert "version 1 is champion now" in promotion.rollback()


def test_the_parent_of_what_stays_stays(repository: Path, client: MlflowClient) -> None:
    """First the champion was trained from 2, then the workspace's params.yaml starts from it."""
    assert kinds(plan(FEW))["version"] == 1
    run = client.get_model_version("tintlab", "3").run_id
    client.set_tag(run, "parent.version", "2")
    assert "version" not in kinds(plan(FEW))
    client.delete_tag(run, "parent.version")
    paths.PARENT_LOCK.parent.mkdir()
    write_json(paths.PARENT_LOCK, {"models:/tintlab/2": {"version": 2, "weights_sha256": "0" * 64}})
    assert "version" not in kinds(plan(FEW))


def test_young_versions_and_the_newest_stay(repository: Path) -> None:
    assert "version" not in kinds(plan(Rules(keep=0, days=1)))
    assert [item.name for item in plan(FEW).items if item.kind == "version"] == ["2"]
    assert "version" not in kinds(plan(Rules(keep=2, days=0)))


def test_what_an_alias_names_stays(repository: Path, client: MlflowClient) -> None:
    client.set_registered_model_alias("tintlab", "favourite", "2")
    assert "version" not in kinds(plan(FEW))


def test_old_runs_go_with_their_artifacts(
    repository: Path, client: MlflowClient, tmp_path: Path, sql: Callable[..., list[tuple[Any, ...]]]
) -> None:
    experiment = store.experiment_id(client)
    run_of_2 = client.get_model_version("tintlab", "2").run_id
    (tmp_path / "weights").write_bytes(bytes(300_000))
    old = [client.create_run(experiment, start_time=number).info for number in range(1, 4)]
    for info in old:
        client.log_metric(info.run_id, "loss", 1.0)
        client.log_artifact(info.run_id, str(tmp_path / "weights"))
        client.set_terminated(info.run_id)
    client.set_tag(old[0].run_id, store.FINGERPRINT_TAG, "feed")
    unfinished_training("feed", iteration=5, moment=0)
    elsewhere = client.create_run(client.create_experiment("mine"), start_time=1).info
    client.delete_run(old[1].run_id)
    found = prune(Rules(keep=4, days=0))
    gone = {item.name: item.bytes for item in found.items if item.kind == "run"}
    # Three runs of versions, and the newest of these; the first one's training can be continued.
    assert gone == {old[1].run_id: 300_000}
    found = prune()
    runs = {item.name for item in found.items if item.kind == "run"}
    assert runs == {old[2].run_id, run_of_2}
    assert client.get_run(old[0].run_id).info.lifecycle_stage == "active"
    assert not (paths.tracking_artifacts() / old[2].run_id).exists()
    assert not sql("select * from metrics where run_uuid = ?", old[2].run_id)
    assert not sql("select * from runs where run_uuid = ?", old[1].run_id)
    assert client.get_run(elsewhere.run_id).info.lifecycle_stage == "active"


def test_a_run_that_is_under_way_elsewhere_stays(repository: Path, client: MlflowClient) -> None:
    running = client.create_run(store.experiment_id(client)).info
    prune(Rules(keep=0, days=0.5))
    assert client.get_run(running.run_id).info.status == "RUNNING"


# --- the state folder


def test_unfinished_trainings_and_their_spools(repository: Path) -> None:
    """Three trainings were killed. The newest stays; of the others a spool stays that has something to tell."""
    for number in range(3):
        with Recorder(f"{number:016}") as recorder:
            recorder.start("killed", {}, {})
        unfinished_training(f"{number:016}", number + 5, number)
    assert len(interrupted.list_interrupted()) == 3
    found = prune()
    assert kinds(found)["checkpoint"] == kinds(found)["spool"] == 2
    assert [training.folder.name for training in interrupted.list_interrupted()] == [f"{2:016}"]
    assert [spool.name for spool in paths.spool().iterdir() if spool.is_dir()] == [f"{2:016}"]


def test_judgements_are_kept_as_long_as_they_are_new(repository: Path) -> None:
    for place in (paths.judged(), paths.verdicts()):
        place.mkdir()
        for number in range(3):
            (place / f"{number}.json").write_text("{}")
            os.utime(place / f"{number}.json", (number, number))
    found = prune()
    assert kinds(found)["judged figures"] == kinds(found)["verdict page"] == 2
    assert (paths.judged() / "2.json").exists()


def test_the_newest_converted_models_stay(repository: Path) -> None:
    for number in range(3):
        (paths.converted_models() / f"{number}").mkdir(parents=True)
        os.utime(paths.converted_models() / f"{number}", (number, number))
    assert kinds(prune())["converted model"] == 2
    assert [folder.name for folder in paths.converted_models().iterdir()] == ["2"]


def test_explorations_stay_with_their_models(repository: Path) -> None:
    champion = paths.explored_model(registry.locate("champion").weights_sha256)
    for age, folder in enumerate([*(paths.explored() / f"{number:016}" for number in range(3)), champion]):
        folder.mkdir(parents=True)
        os.utime(folder, (9 - age, 9 - age))
    assert kinds(prune())["exploration"] == 2
    assert sorted(paths.explored().iterdir()) == sorted([paths.explored() / f"{0:016}", champion])


# --- when it may run, and what interruptions leave


def test_a_plan_removes_nothing(repository: Path, client: MlflowClient, tmp_path: Path) -> None:

    def listing() -> set[Path]:
        ours = [path for top in (repository, paths.tracking_artifacts()) for path in top.rglob("*")]
        return {path for path in ours if ".dvc/tmp" not in path.as_posix()}

    before = listing()
    shown = text(plan(FEW))
    assert listing() == before
    assert re.search(r"version +2 +registered", shown)
    assert len(registry.list_versions(client)) == 3


def test_twice_is_as_once(repository: Path, tmp_path: Path) -> None:
    assert prune().items
    found = plan(FEW)
    assert (found.items, text(found)) == ((), "nothing to remove")


def test_what_became_needed_meanwhile_stays(repository: Path, client: MlflowClient, tmp_path: Path) -> None:
    shown = plan(FEW)
    assert ("version", "2") in {item.key for item in shown.items}
    promotion.promote(2, "after all", forced=True)
    carry_out(FEW, shown, lambda _: None)
    assert registry.locate("champion").version == 2


@pytest.mark.slow
def test_interrupted_anywhere_nothing_is_broken(
    repository: Path, client: MlflowClient, tmp_path: Path
) -> None:
    """Stopped before each thing in turn; what is there works every time, and in the end all is gone."""
    registry.locate("models:/tintlab/2")
    first = plan(FEW)
    assert len(first.items) == 5
    for _ in first.items:
        before = [item.key for item in plan(FEW).items]
        with suppress(KeyboardInterrupt):
            carry_out(FEW, plan(FEW), Patience(1))
            assert len(before) == 1
        assert [item.key for item in plan(FEW).items] == before[1:]
        assert_usable(client)
    assert plan(FEW).items == ()


@pytest.mark.parametrize("shared_run", [False, True])
def test_a_version_cut_short_amid_its_removal(
    repository: Path,
    client: MlflowClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sql: Callable[..., list[tuple[Any, ...]]],
    shared_run: bool,
) -> None:
    files = files_of(client, 2)
    if shared_run:  # as when the same training was registered with other settings
        kept = client.get_model_version("tintlab", "1").run_id
        target = paths.tracking_artifacts() / kept / "artifacts" / "registered" / files.name
        shutil.copytree(files, target)
        sql(
            "update model_versions set run_id=?, source=? where name='tintlab' and version=2",
            kept,
            target.as_uri(),
        )
        files = target
    with monkeypatch.context() as patch:
        patch.setattr(registered, "_delete", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prune()
    assert files.exists()
    assert [version.version for version in registry.list_versions(client)] == [1, 3]
    assert_usable(client)
    prune()
    assert not files.exists()
    assert plan(FEW).items == ()
    assert_usable(client)


def test_leftover_files_stay_when_registered_again(
    repository: Path,
    client: MlflowClient,
    models: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(registered, "_delete", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prune()
    again = register.register(models[1])
    assert again.new
    prune()
    assert registry.locate(f"models:/tintlab/{again.version}").version == again.version


@pytest.mark.parametrize("lock", ["training", "retrain", "registering"])
def test_not_while_something_is_under_way(repository: Path, lock: str) -> None:
    path = {
        "training": paths.training_lock,
        "retrain": paths.retrain_lock,
        "registering": paths.registering_lock,
    }
    with exclusive(path[lock](), "it"), pytest.raises(TintlabError, match=r"under way: pid \d+"):
        plan(FEW)


def test_not_while_dvc_is_at_work(repository: Path) -> None:
    """A real `dvc repro` whose stage waits for a file."""
    Path("dvc.yaml").write_text(
        "stages:\n  wait:\n    cmd: touch started; until [ -e go ]; do sleep 0.1; done; echo 1 > late.txt\n"
        "    outs: [late.txt]\n"
    )
    working = subprocess.Popen([sys.executable, "-m", "dvc", "repro", "-q"])
    try:
        deadline = time.monotonic() + 120
        while not Path("started").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with pytest.raises(TintlabError, match="DVC is running"):
            plan(FEW)
    finally:
        Path("go").touch()
        working.wait(120)
    assert plan(FEW).items


def test_nothing_goes_when_mlflow_is_out_of_reach(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(TintlabError, match="can't be reached"):
        prune()
    assert cached(repository) == {1, 2, 3, 4, 5, 6, 7}


def test_elsewhere_it_says_where_to_run(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TintlabError, match="run this in the repository's folder"):
        plan(FEW)


@pytest.mark.slow
def test_killed_anywhere_nothing_is_broken(repository: Path, client: MlflowClient) -> None:
    """The program itself, killed as soon as it says the first or second thing that it removes."""
    registry.locate("models:/tintlab/2")
    kills = 0
    for line in (1, 1, 2):
        pruning = subprocess.Popen(
            [sys.executable, "-m", "tintlab.cli", "gc", "--keep", "1", "--days", "0", "--yes"],
            stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        assert pruning.stdout is not None
        said = (text for text in pruning.stdout if text.startswith("removing"))
        if len(list(itertools.islice(said, line))) == line:
            pruning.kill()
            kills += 1
        pruning.wait(120)
        assert_usable(client)
    assert kills >= 2
    prune()
    assert plan(FEW).items == ()
    assert_usable(client)


@pytest.mark.slow
def test_runs_of_a_server_lose_their_artifacts(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real `mlflow server` that stores artifacts itself: runs end in its trash, empty; no more comes later."""
    empty = tmp_path / "empty.db"
    with closing(sqlite3.connect(empty)):
        pass
    server = Server(tmp_path, empty)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    with server.running():
        for seed in (1, 2, 3):
            register.register(make_model(tmp_path / str(seed), seed))
            if seed != 2:
                promotion.promote(seed, "why not", forced=True)
        served = tmp_path / "served"
        before = bytes_of(served)
        found = prune()
        in_mlflow = sum(item.bytes for item in found.items if item.kind in ("version", "run"))
        assert before - bytes_of(served) == in_mlflow > 300_000
        assert plan(FEW).items == ()
        assert "version 1 is champion now" in promotion.rollback()
        assert registry.locate("champion").version == 1


def test_the_command_asks_shows_and_removes(repository: Path) -> None:
    few = ["gc", "--keep", "1", "--days", "0"]
    shown = CliRunner().invoke(app, [*few, "--dry-run"]).output
    assert "4 items" in shown
    refused = CliRunner().invoke(app, few, input="n\n")
    assert (refused.exit_code, "Remove all of this?" in refused.output) == (0, True)
    assert CliRunner().invoke(app, [*few, "--dry-run"]).output == shown
    removed = CliRunner().invoke(app, [*few, "--yes"]).output
    assert removed.count("removing ") == 4
    assert removed.endswith(" MB freed\n")
    assert "nothing to remove" in CliRunner().invoke(app, few).output


class Patience:
    """Lets some things go, and interrupts before the next."""

    def __init__(self, things: int) -> None:
        self.things = things

    def __call__(self, _: str) -> None:
        self.things -= 1
        if self.things < 0:
            raise KeyboardInterrupt


def interrupt(_: object) -> None:
    raise KeyboardInterrupt


def assert_usable(client: MlflowClient) -> None:
    """Champion, former champion and every version that is listed can be loaded; the workspace is whole."""
    log = history.read(client)
    assert log.champion is not None
    assert log.champion.version == 3
    for version in registry.list_versions(client):
        registry.hash_stored(client, version)
    assert Path("out.txt").read_text().endswith("value: 7\n\n")
