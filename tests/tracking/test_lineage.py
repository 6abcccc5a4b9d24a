import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tintlab.system.errors import TintlabError
from tintlab.tracking import lineage

IDENTITY = {
    "GIT_AUTHOR_NAME": "test",
    "GIT_AUTHOR_EMAIL": "test@example.org",
    "GIT_COMMITTER_NAME": "test",
    "GIT_COMMITTER_EMAIL": "test@example.org",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit: source, parameters, dvc.yaml, dvc.lock, a report."""
    for name, value in IDENTITY.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "project"
    write(folder, {"src/pack/train.py": "RATE = 1\n", "params.yaml": "train:\n  rate: 1\n"})
    write(folder, {"dvc.yaml": "stages: {}\n", "dvc.lock": "schema: '2.0'\n", "reports/metrics.json": "{}\n"})
    git(folder, "init", "-q", "-b", "main")
    commit(folder)
    return folder


def test_a_fresh_commit_is_clean(project: Path) -> None:
    state = lineage.git_state(project)
    assert state.commit == git(project, "rev-parse", "HEAD")
    assert (state.branch, state.dirty, state.patch) == ("main", False, "")


@pytest.mark.parametrize("name", ["params.yaml", "dvc.yaml", "src/pack/train.py"])
def test_edits_make_it_dirty_and_the_patch_restores_them(project: Path, tmp_path: Path, name: str) -> None:
    write(project, {name: "# new content\n"})
    state = lineage.git_state(project)
    assert state.dirty
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(project), str(clone))
    git(clone, "apply", "-", standard_input=state.patch)
    assert (clone / name).read_text() == "# new content\n"


def test_a_change_of_equal_size_and_time_makes_it_dirty(project: Path) -> None:
    path = project / "params.yaml"
    git(project, "config", "core.trustCtime", "false")
    os.utime(path, (1e9, 1e9))
    git(project, "update-index", "--refresh")
    write(project, {"params.yaml": path.read_text().replace("1", "2")})
    os.utime(path, (1e9, 1e9))
    assert git(project, "status", "--porcelain") == ""
    state = lineage.git_state(project)
    assert state.dirty
    assert "+  rate: 2" in state.patch


@pytest.mark.parametrize("name", ["dvc.lock", "reports/metrics.json", "notes.txt"])
def test_outputs_and_their_lock_leave_it_clean(project: Path, name: str) -> None:
    write(project, {name: "changed\n"})
    state = lineage.git_state(project)
    assert (state.dirty, state.patch) == (False, "")


def test_a_new_source_file_makes_it_dirty_and_is_named(project: Path) -> None:
    write(project, {"src/pack/új fájl.py": "x = 1\n", "src/pack/__pycache__/a.pyc": "x"})
    write(project, {".gitignore": "__pycache__/\n"})
    state = lineage.git_state(project)
    assert state.dirty
    assert state.patch == "# not in git: src/pack/új fájl.py\n"


def test_a_staged_and_a_deleted_file_make_it_dirty(project: Path) -> None:
    write(project, {"params.yaml": "train: {}\n"})
    git(project, "add", "params.yaml")
    assert "+train: {}" in lineage.git_state(project).patch
    git(project, "reset", "-q", "--hard")
    (project / "dvc.yaml").unlink()
    assert "deleted file" in lineage.git_state(project).patch


def test_a_patch_ignores_the_users_git_settings(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(project, "config", "diff.noprefix", "true")
    git(project, "config", "color.ui", "always")
    write(project, {"params.yaml": "train: {}\n"})
    assert "diff --git a/params.yaml b/params.yaml\n" in lineage.git_state(project).patch


def test_a_huge_patch_is_cut_off_and_says_so(project: Path) -> None:
    write(project, {"src/pack/train.py": "é = 1\n" * 300_000})
    patch = lineage.git_state(project).patch
    assert len(patch.encode()) < lineage.MAX_PATCH_BYTES + 100
    assert patch.splitlines()[-1].startswith("# cut off: ")


def test_a_detached_head_has_a_commit_and_no_branch(project: Path) -> None:
    git(project, "checkout", "-q", "--detach")
    state = lineage.git_state(project)
    assert len(state.commit) == 40
    assert state.branch == ""


def test_before_the_first_commit_there_is_a_branch_only(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    assert lineage.git_state(tmp_path) == lineage.GitState(branch="main")


def test_outside_a_repository_all_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert lineage.git_state(tmp_path) == lineage.GitState()


def test_without_git_all_is_empty(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert lineage.git_state(project) == lineage.GitState()


def test_reading_the_state_waits_for_no_lock_and_takes_none(project: Path) -> None:
    write(project, {".git/index.lock": "", "params.yaml": "train: {}\n"})
    assert lineage.git_state(project).dirty


def test_a_fingerprint_is_a_sha256_of_canonical_json() -> None:
    # printf '{"a":1,"b":[2,"é"]}' | sha256sum
    assert lineage.fingerprint({"b": [2, "é"], "a": 1}) == "992f8d0a5d6192a6"


def test_a_fingerprint_refuses_what_json_cannot_say() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        lineage.fingerprint({"rate": float("nan")})


def test_every_part_of_a_training_changes_its_fingerprint(tmp_path: Path) -> None:
    write(tmp_path, {"data/a.npy": "1", "data/b.npy": "2", "one.py": "x", "two.py": "y"})
    data, sources = [tmp_path / "data"], [tmp_path / "one.py", tmp_path / "two.py"]

    def name(rate: float = 1.0, version: str = "2.13", threads: int = 2) -> str:
        params = {"rate": rate, "size": 64}
        return lineage.fingerprint(lineage.training_inputs(params, data, sources, version, threads))

    names = [name(), name(rate=2.0), name(version="2.14"), name(threads=1)]
    write(tmp_path, {"data/b.npy": "3"})
    names.append(name())
    write(tmp_path, {"two.py": "z"})
    names.append(name())
    (tmp_path / "data/b.npy").rename(tmp_path / "data/c.npy")
    names.append(name())
    assert len(set(names)) == len(names)
    sources.reverse()
    (tmp_path / "one.py").touch()
    assert name() == names[-1]


def test_hashes_are_dvcs_own(tmp_path: Path) -> None:
    write(
        tmp_path, {"photos/b/2.txt": "two", "photos/á.txt": "one", "photos/b-c.txt": "", "table.csv": "x\n"}
    )
    dvc(tmp_path, "init", "-q", "--no-scm")
    dvc(tmp_path, "add", "-q", "photos", "table.csv")
    for name in ("photos", "table.csv"):
        recorded = YAML(typ="safe").load(tmp_path / f"{name}.dvc")["outs"][0]["md5"]
        assert lineage.data_hashes([tmp_path / name]) == {(tmp_path / name).as_posix(): recorded}


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(TintlabError, match=r"lost\.npy is missing: run `dvc repro`"):
        lineage.data_hashes([tmp_path / "lost.npy"])


def test_inputs_of_a_stage_are_what_dvc_yaml_lists(tmp_path: Path) -> None:
    listed = "stages:\n  train:\n    cmd: x\n    deps: [src/a.py, data/lab, {data/x.csv: {persist: true}}]\n"
    write(tmp_path, {"dvc.yaml": listed + "  bare:\n    cmd: y\n"})
    inputs = lineage.stage_inputs("train", tmp_path / "dvc.yaml")
    assert inputs == lineage.StageInputs((Path("src/a.py"),), (Path("data/lab"), Path("data/x.csv")))
    assert lineage.stage_inputs("bare", tmp_path / "dvc.yaml") == lineage.StageInputs((), ())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "dvc.yaml is missing"),
        ("stages: [", "is not readable YAML"),
        ("", "has no stage 'train'"),
        ("stages:\n  fetch:\n    cmd: x\n", "has no stage 'train'"),
    ],
)
def test_a_dvc_yaml_without_the_stage_is_one_clear_line(
    tmp_path: Path, content: str | None, message: str
) -> None:
    if content is not None:
        write(tmp_path, {"dvc.yaml": content})
    with pytest.raises(TintlabError, match=message):
        lineage.stage_inputs("train", tmp_path / "dvc.yaml")


def test_dvc_exp_run_is_told_by_its_tags(project: Path) -> None:
    command = f"{shlex.quote(sys.executable)} -c 'import json; from tintlab.tracking import lineage; "
    command += 'json.dump([lineage.experiment_tags(), lineage.git_state().dirty], open("out.json", "w"))\''
    stage = {"cmd": command, "params": ["train"], "outs": ["out.json"]}
    write(project, {"dvc.yaml": json.dumps({"stages": {"tell": stage}})})
    (project / "dvc.lock").unlink()
    dvc(project, "init", "-q")
    commit(project)
    dvc(project, "exp", "run", "-q", "--name", "faster", "-S", "train.rate=2")
    tags, dirty = json.loads((project / "out.json").read_text())
    assert tags == {"dvc.baseline": git(project, "rev-parse", "HEAD"), "dvc.experiment": "faster"}
    assert dirty
    assert lineage.experiment_tags() == {}


def test_versions_are_those_that_run() -> None:
    import numpy as np

    found = lineage.versions()
    assert found["numpy"] == np.__version__
    assert found["python"] == ".".join(str(part) for part in sys.version_info[:3])
    assert set(found) == {"python", "cpu", *lineage.PACKAGES}
    assert all(found.values())


def test_tags_of_a_run_hold_no_empty_ones() -> None:
    tags = lineage.run_tags(lineage.GitState(commit="c" * 40, dirty=True), {"data/lab": "ab.dir"})
    assert tags["git.commit"] == tags["mlflow.source.git.commit"] == "c" * 40
    assert (tags["git.dirty"], tags["input.data/lab"]) == ("true", "ab.dir")
    assert "git.branch" not in tags
    assert "version.torch" in tags


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def git(folder: Path, *arguments: str, standard_input: str | None = None) -> str:
    answer = subprocess.run(
        ["git", *arguments], cwd=folder, input=standard_input, capture_output=True, text=True, check=True
    )
    return answer.stdout.strip()


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "all")


def dvc(folder: Path, *arguments: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder,
        env=os.environ | {"DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
