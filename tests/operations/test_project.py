"""`tintlab init`: what it writes is what the repository has."""

import json
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from tintlab.cli import app
from tintlab.operations import project
from tintlab.registry import judging
from tintlab.system import code_lock, paths, project_files
from tintlab.system.errors import TintlabError
from tintlab.tracking import lineage

MADE = {"README.md", "code.lock.json", "dvc.yaml", "data/sources.lock.json"}
"""Files of a project that are no copies."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("projects") / "x"
    project.make_project(folder)
    return folder


def git(folder: Path, *arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_a_project_has_the_repositorys_files(made: Path, repository: Path) -> None:
    files = git(made, "ls-files")
    assert set(files) >= MADE
    for name in set(files) - MADE:
        assert (made / name).read_bytes() == (repository / name).read_bytes(), name


def test_nothing_that_a_project_needs_is_left_out(made: Path, repository: Path) -> None:
    folders = (".dvc", ".dvcignore", ".gitignore", "data", "flows", "models", "presets", "reports")
    ours = git(repository, "ls-files", "--", *folders, "dvc.yaml", "params.yaml", "prefect.yaml")
    assert set(ours) == set(git(made, "ls-files")) - {"README.md", "code.lock.json"}


def test_the_stages_differ_only_in_how_they_name_the_code(made: Path, repository: Path) -> None:
    ours, theirs = (YAML(typ="safe").load(folder / "dvc.yaml") for folder in (repository, made))
    assert ours["plots"] == theirs["plots"]
    for name, stage in ours["stages"].items():
        sources = [dep for dep in stage["deps"] if dep.startswith("src/")]
        assert sources
        assert list(code_lock.stage_sources()[name]) == sources
        stage["deps"] = [dep for dep in stage["deps"] if dep not in sources]
        stage["params"] = [{"code.lock.json": [name]}, *stage["params"]]
    assert ours["stages"] == theirs["stages"]


def test_it_is_a_git_and_dvc_repository_with_one_commit(made: Path) -> None:
    assert git(made, "status", "--porcelain") == []
    assert git(made, "log", "--format=%s") == ["A new tintlab project"]
    from dvc.repo import Repo

    with Repo(str(made)) as repo:
        assert {stage.name for stage in repo.index.stages} == set(code_lock.stage_sources())


def test_a_training_there_has_the_repositorys_fingerprint(
    made: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same code under both: a checkpoint or a run of one is that of the other."""
    found = []
    for folder in (repository, made):
        monkeypatch.chdir(folder)
        inputs = lineage.stage_inputs("train")
        found.append((inputs.sources, lineage.source_digest(inputs.sources)))
        assert [str(path) for path in inputs.data] == ["data/lab", "data/parent.lock.json"]
    assert found[0] == found[1]
    assert found[0][0]


def test_a_verdict_there_is_by_the_repositorys_judge(
    made: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for folder in (repository, made):
        monkeypatch.chdir(folder)
        found.append(judging.evaluator_hash())
    assert found[0] == found[1]


def test_other_code_is_recorded_stage_by_stage(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert code_lock.stale_stages() == []  # no project
    now = code_lock.compute()
    paths.CODE_LOCK.write_text(json.dumps(now | {"split": "0" * 64, "tintlab": "0.0.1"}))
    assert code_lock.stale_stages() == ["split"]
    with pytest.raises(TintlabError, match=r"code\.lock\.json records other code .*: run `tintlab repro`"):
        code_lock.refuse_stale()
    assert code_lock.refresh().endswith("in code.lock.json: changed code of split")
    assert json.loads(paths.CODE_LOCK.read_text()) == now == json.loads((made / "code.lock.json").read_text())
    assert code_lock.refresh() == ""
    code_lock.refuse_stale()


def test_an_empty_folder_may_be_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["init", "."])
    assert (
        result.output == ". is a project now; try `tintlab repro --preset smoke`, then read README.md there\n"
    )
    assert (tmp_path / "dvc.yaml").exists()


def test_bad_folders_are_one_line_and_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    (tmp_path / "file").touch()
    for name, words in {"full": "is not empty", "file": "is a file"}.items():
        with pytest.raises(TintlabError) as refused:
            project.make_project(tmp_path / name)
        assert str(refused.value) == f"{tmp_path / name} {words}: name a new folder"
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["a"]


@pytest.mark.parametrize("exists", [False, True])
def test_without_git_nothing_is_left(exists: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "x"
    if exists:
        folder.mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TintlabError, match="git is missing: install it"):
        project.make_project(folder)
    assert list(tmp_path.iterdir()) == ([folder] if exists else [])
    assert not exists or not list(folder.iterdir())


def test_a_damaged_installation_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project_files, "root", lambda: tmp_path)
    with pytest.raises(FileNotFoundError, match="is missing: install tintlab again"):
        list(project_files.list_files())
