"""What `tintlab repro` does before it calls DVC."""

import json
import subprocess
from pathlib import Path

import pytest

from tintlab.operations import pipeline
from tintlab.system import paths
from tintlab.system.errors import TintlabError


@pytest.fixture(autouse=True)
def _tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source tree as an archive of the release unpacks it: no git repository."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    paths.INBOX.mkdir(parents=True)
    paths.SOURCES_LOCK.write_text("{}")


def test_without_git_it_says_what_to_run() -> None:
    with pytest.raises(TintlabError, match="run `git init && git add -A && git commit -m start`, then again"):
        pipeline.repro(None, [])


def test_in_a_repository_with_a_commit_it_goes_on() -> None:
    subprocess.run(["git", "init", "-q"], check=True)
    with pytest.raises(TintlabError, match="repository with a commit"):
        pipeline._refuse_without_git()
    names = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *names, "commit", "-q", "--allow-empty", "-m", "start"], check=True)
    pipeline._refuse_without_git()


def test_the_inbox_is_recorded_and_never_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    pipeline.record_inbox()
    assert json.loads(paths.SOURCES_LOCK.read_text()) == {}
    (paths.INBOX / "a.jpg").write_bytes(b"a")
    pipeline.record_inbox()
    assert capsys.readouterr().out == "recorded data/inbox: 1 files, in data/sources.lock.json\n"
    recorded = paths.SOURCES_LOCK.read_text()
    pipeline.record_inbox()
    assert capsys.readouterr().out == ""
    # On another machine the photographs may be missing: `fetch` refuses that.
    (paths.INBOX / "a.jpg").unlink()
    pipeline.record_inbox()
    assert paths.SOURCES_LOCK.read_text() == recorded
