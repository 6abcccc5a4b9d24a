"""What needs no server: the clone, the clock, the page, credentials."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prefect.states import Failed

from flows import common, pages
from flows.stages import StageClock
from tests.processes import seconds_until_gone
from tintlab.operations import arrivals, retrain_clone
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.locks import HeldError
from tintlab.system.params import Params
from tintlab.system.urls import redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("get https://ann:secret@host.example/a.zip now", "get https://host.example/a.zip now"),
        ("https://bucket.example/a.zip?X-Amz-Signature=1f&X-Amz-Expires=9", "https://bucket.example/a.zip?…"),
        ("postgresql://mlflow:p@ss@db:5432/mlflow", "postgresql://db:5432/mlflow"),
        ("postgresql://mlflow:a/b@db/mlflow", "postgresql://db/mlflow"),
        ("http://127.0.0.1:5000/#/experiments/1/runs/a", "http://127.0.0.1:5000/#/experiments/1/runs/a"),
        ("https://token@host/x#y (see there)", "https://host/x#y (see there)"),
        ("no URL: a@b, c:d", "no URL: a@b, c:d"),
    ],
)
def test_urls_lose_their_credentials(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_the_clock_tells_ran_from_cached_and_takes_the_time() -> None:
    now = iter([10.0, 14.5, 14.5, 20.0])
    clock = StageClock(lambda: next(now))
    heard = [
        clock.read(line)
        for line in (
            "Running stage 'fetch':",
            "> python -m tintlab.stages.fetch",
            "Stage 'split' is cached - skipping run, checking out outputs",
        )
    ]
    assert heard == [True, False, True]
    clock.stop()
    clock.stop()
    assert clock.rows() == [
        {"stage": "fetch", "outcome": "ran", "seconds": 4.5},
        {"stage": "split", "outcome": "cached", "seconds": 5.5},
    ]
    assert clock.share_done == pytest.approx(1 / 6)


def test_the_table_shows_model_champion_and_baselines() -> None:
    metrics = {"model": {"psnr": 22.0, "new": 1.0}, "grey": {"psnr": 21.0}, "photos": 47}
    verdict = {"champion": 3, "totals": {"champion": {"model": {"psnr": 21.5}}}}
    assert pages.figures_table(metrics, verdict).splitlines() == [
        "| figure | new model | champion (version 3) | grey |",
        "| --- | ---: | ---: | ---: |",
        "| psnr | 22 | 21.5 | 21 |",
        "| new | 1 |  |  |",
    ]


def test_names_are_no_markup() -> None:
    assert pages.as_text("<b>[x](y)</b>\n|") == r"\<b\>\[x\](y)\</b\> \|"


def test_faults_are_the_programs_own_words() -> None:
    stopped = "error: the pipeline stopped: the reason stands above"
    lines = ["a", "error: no photographs; see x", "ERROR: failed to reproduce 'fetch'", stopped]
    assert common.faults(lines) == "no photographs; see x; failed to reproduce 'fetch'"
    assert common.faults(["a", stopped]) == "the pipeline stopped: the reason stands above"
    assert common.faults(["only this"]) == "only this"


@pytest.mark.parametrize(
    ("words", "network", "promotion"),
    [
        ("MLflow at http://127.0.0.1:1 can't be reached (refused): nothing is lost", True, True),
        ("12 records wait for MLflow at sqlite:///x", True, True),
        (
            "MLflow failed while promote of version 2 was written (reset): `tintlab history` tells",
            False,
            True,
        ),
        ("version 2 is champion now, but its alias may not say so yet (reset)", False, True),
        (
            "MLflow failed while rollback of version 1 was written (reset): `tintlab history` tells",
            False,
            False,
        ),
        ("version 2 did not pass: worse", False, False),
    ],
)
def test_only_what_another_try_can_cure_is_tried_again(words: str, network: bool, promotion: bool) -> None:
    state = Failed(data=TintlabError(words))
    assert common.NETWORK["retry_condition_fn"](None, None, state) == network
    assert common.PROMOTION["retry_condition_fn"](None, None, state) == promotion


SECRETS = "https://ann:hush@host/a.zip?X-Amz-Signature=hush failed"


def test_lines_are_passed_on_at_once_without_credentials() -> None:
    code = f"import sys; print('50 %\\r100 %'); print({SECRETS!r}); sys.exit({'error: ' + SECRETS!r})"
    lines = []
    with pytest.raises(TintlabError) as fault:
        for line in common.run_lines([sys.executable, "-c", code]):
            lines.append(line)
    assert lines[:3] == ["50 %", "100 %", "https://host/a.zip?… failed"]
    assert str(fault.value) == "https://host/a.zip?… failed"


def test_a_program_that_is_left_ends_with_all_it_started() -> None:
    code = (
        "import subprocess, sys, time, os;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        "print(os.getpid(), child.pid, flush=True); time.sleep(600)"
    )
    lines = common.run_lines([sys.executable, "-c", code])
    pids = [int(word) for word in next(lines).split()]
    lines.close()  # as an exception does, such as a cancelled run's
    seconds_until_gone(pids, 10)


# --- the clone


@pytest.fixture
def tree(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git and DVC repository with our params.yaml, and a state folder of its own."""
    folder = tmp_path / "repository"
    (folder / "data" / "inbox").mkdir(parents=True)
    (folder / "src").mkdir()
    (folder / "params.yaml").write_bytes((repository / "params.yaml").read_bytes())
    (folder / "data" / "sources.lock.json").write_text("{}")
    (folder / "dvc.yaml").write_text("stages: {}\n")
    (folder / ".gitignore").write_text("data/inbox/\n")
    for name, value in {"AUTHOR_NAME": "a", "AUTHOR_EMAIL": "a@b", "COMMITTER_NAME": "a"}.items():
        monkeypatch.setenv(f"GIT_{name}", value)
    monkeypatch.setenv("GIT_COMMITTER_EMAIL", "a@b")
    run(folder, "git", "init", "-q")
    run(folder, sys.executable, "-m", "dvc", "init", "-q")
    commit(folder)
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(folder)
    return folder


def run(folder: Path, *command: str) -> str:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def commit(folder: Path) -> None:
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-qm", "a commit")


def test_the_clone_follows_commits_and_inbox_only(tree: Path) -> None:
    (tree / "data" / "inbox" / "a.jpg").write_bytes(b"a")
    first = retrain_clone.prepare(tree)
    assert first.left_out == ()
    inbox = first.folder / "data" / "inbox"
    assert [path.name for path in inbox.iterdir()] == ["a.jpg"]
    before = retrain_clone.inputs_digest(first, {"preset": None})
    assert retrain_clone.inputs_digest(retrain_clone.prepare(tree), {"preset": None}) == before
    assert retrain_clone.inputs_digest(first, {"preset": "smoke"}) != before

    # What is not committed is left out, and told; also what a retraining did in the clone.
    (tree / "params.yaml").write_text("changed: 1\n")
    (first.folder / "params.yaml").write_text("overridden: 1\n")
    again = retrain_clone.prepare(tree)
    assert again.left_out == ("M params.yaml",)
    assert "train" in (again.folder / "params.yaml").read_text()
    run(tree, "git", "checkout", "-q", "params.yaml")

    # Arrivals wait for the next one; a photo that is written over does not change the snapshot.
    (tree / "data" / "inbox" / "b.jpg").write_bytes(b"b")
    (tree / "data" / "inbox" / "a.jpg").write_bytes(b"z")
    assert [path.read_bytes() for path in inbox.iterdir()] == [b"a"]
    third = retrain_clone.prepare(tree)
    assert sorted(path.read_bytes() for path in inbox.iterdir()) == [b"b", b"z"]
    assert retrain_clone.inputs_digest(third, {"preset": None}) != before
    (tree / "src" / "new.py").write_text("x = 1\n")
    commit(tree)
    assert (retrain_clone.prepare(tree).folder / "src" / "new.py").exists()
    assert run(tree, "git", "status", "--porcelain") == ""


@pytest.mark.slow
def test_the_clone_shares_the_cache(tree: Path) -> None:
    (tree / ".dvc" / "config.local").write_text("[core]\n    remote = shelf\n")
    folder = retrain_clone.prepare(tree).folder
    cache = run(folder, sys.executable, "-m", "dvc", "cache", "dir").strip()
    assert Path(cache).resolve() == (tree / ".dvc" / "cache").resolve()
    assert run(folder, sys.executable, "-m", "dvc", "config", "core.remote").strip() == "shelf"


def test_what_a_git_hook_sets_does_not_lead_astray(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
        monkeypatch.setenv(name, str(tree.parent / "elsewhere"))
    folder = retrain_clone.prepare(tree).folder
    assert (folder / "params.yaml").read_bytes() == (tree / "params.yaml").read_bytes()


def test_experiments_come_back_as_references_alone(tree: Path) -> None:
    folder = retrain_clone.prepare(tree).folder
    (folder / "found.txt").write_text("x")
    run(folder, "git", "add", "found.txt")
    run(folder, "git", "commit", "-qm", "an experiment")
    run(folder, "git", "update-ref", "refs/exps/ab/cdef/retrain-1", "HEAD")
    prepared = retrain_clone.prepare(tree)
    head = run(tree, "git", "rev-parse", "HEAD")
    assert retrain_clone.fetch_experiment(prepared, "retrain-1")
    assert not retrain_clone.fetch_experiment(prepared, "retrain-2")
    assert run(tree, "git", "show", "refs/exps/ab/cdef/retrain-1:found.txt") == "x"
    assert run(tree, "git", "rev-parse", "HEAD") == head
    assert run(tree, "git", "status", "--porcelain") == ""
    assert not (tree / ".git" / "FETCH_HEAD").exists()


@pytest.mark.slow
def test_relative_sources_are_linked_and_those_outside_refused(tree: Path) -> None:
    params = (tree / "params.yaml").read_text()
    (tree / "harbour").mkdir()
    (tree / "harbour" / "a.jpg").write_bytes(b"a")
    (tree / ".gitignore").write_text("data/inbox/\nharbour/\n")
    (tree / "params.yaml").write_text(params.replace("sources: []", "sources: [{path: harbour}]"))
    commit(tree)
    assert (retrain_clone.prepare(tree).folder / "harbour" / "a.jpg").read_bytes() == b"a"
    (tree / "params.yaml").write_text(params.replace("sources: []", "sources: [{path: ../x}]"))
    commit(tree)
    with pytest.raises(TintlabError, match="absolute path"):
        retrain_clone.prepare(tree)


def test_without_a_commit_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path / "state"))
    run(tmp_path, "git", "init", "-q")
    with pytest.raises(TintlabError, match="commit something there first"):
        retrain_clone.prepare(tmp_path)


def test_one_retraining_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path))
    with (
        retrain_clone.hold_lock(),
        pytest.raises(HeldError, match="another retraining is under way: pid"),
        retrain_clone.hold_lock(),
    ):
        pass


def test_the_clone_keeps_its_own_copy_of_dvc_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    ours = paths.dvc_lock_copy()
    paths.workspace().mkdir(parents=True)
    monkeypatch.chdir(paths.workspace())
    assert paths.dvc_lock_copy() != ours
    assert paths.training_lock() == tmp_path / "training.lock"


# --- arrivals


def test_only_new_colour_photographs_count(
    tmp_path: Path, default_params: Params, picture: Any, encoded: Any
) -> None:
    inbox, known = tmp_path / "inbox", tmp_path / "known"
    for folder in (inbox, known):
        folder.mkdir()
    (inbox / "grey.png").write_bytes(encoded(picture(64, 64, 1).mean(axis=2).astype("uint8")))
    (inbox / "broken.png").write_bytes(b"x")
    (inbox / "README.md").write_text("no photograph")
    for number in range(3):
        (inbox / f"{number}.png").write_bytes(encoded(picture(64, 64, number)))
    found = arrivals.find_new_photographs(inbox, known, default_params)
    assert (found.files, found.coloured) == (5, 3)
    again = arrivals.find_new_photographs(inbox, known, default_params)
    assert again.digest == found.digest
    (inbox / "late.png").write_bytes(encoded(picture(64, 64, 9)))
    assert arrivals.find_new_photographs(inbox, known, default_params).digest != found.digest
    assert arrivals.find_new_photographs(inbox, inbox, default_params) == arrivals.Arrivals(0, 0, "")


def test_causes_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path))
    assert arrivals.read_seen() == set()
    arrivals.remember({"a"})
    arrivals.remember({"b"})
    assert arrivals.read_seen() == {"a", "b"}
    assert json.loads(paths.watch_record().read_text()) == {"seen": ["a", "b"]}
