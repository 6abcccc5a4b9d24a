import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from tests.sources.test_archives import FILES, WRITERS, every_kind, write_folder, write_zip
from tintlab.sources import downloads
from tintlab.sources import lock as sources_lock
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.params import SourceParams, load_params

URL = "https://example.org/set/photos.zip"


def recorded(*named: SourceParams) -> dict[str, Any]:
    """The lock file of these sources."""
    return downloads.refresh(load_params().fetch.model_copy(update={"sources": named}), {})


# --- digests and the lock file


def test_the_digest_of_an_archive_is_its_files(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "photos.zip", FILES)
    assert sources_lock.compute_digest(source) == hashlib.sha256(source.read_bytes()).hexdigest()


def test_the_digest_of_a_folder_is_of_names_and_contents(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "photos", {"b.jpg": b"2", "a.jpg": b"1"})
    listing = "".join(
        f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in [("a.jpg", b"1"), ("b.jpg", b"2")]
    )
    before = sources_lock.compute_digest(folder)
    assert (
        before == hashlib.sha256(listing.encode()).hexdigest()
    )  # what `sha256sum a.jpg b.jpg | sha256sum` says
    os.utime(folder / "a.jpg", (0, 0))
    (folder / ".DS_Store").write_bytes(b"x")
    assert sources_lock.compute_digest(folder) == before
    (folder / "a.jpg").write_bytes(b"3")
    assert sources_lock.compute_digest(folder) != before
    (folder / "a.jpg").write_bytes(b"1")
    (folder / "a.jpg").rename(folder / "c.jpg")
    assert sources_lock.compute_digest(folder) != before


def test_a_source_may_follow_links(tmp_path: Path) -> None:
    whole = write_folder(tmp_path / "whole", {"a.jpg": b"1", "album/b.jpg": b"2"})
    linking = write_folder(tmp_path / "linking", {"a.jpg": b"1"})
    (linking / "album").symlink_to(whole / "album")
    with pytest.raises(TintlabError, match="is a linked folder"):
        recorded(SourceParams(path=str(linking)))
    lock = recorded(SourceParams(path=str(linking), follow_links=True))
    assert lock[str(linking)]["digest"] == sources_lock.compute_digest(whole)


def test_digests_of_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TintlabError, match="does not exist"):
        sources_lock.compute_digest(tmp_path / "absent.zip")


@every_kind
def test_recorded_sources_pass_until_they_change(kind: str, tmp_path: Path) -> None:
    path = WRITERS[kind](tmp_path / kind, FILES)
    source = SourceParams(path=str(path))
    lock = recorded(source)
    sources_lock.locate_source(source, lock)
    WRITERS[kind](path, FILES | {"new.jpg": b"new"})
    with pytest.raises(
        TintlabError, match=r"changed since it was recorded: run `tintlab sources refresh`"
    ) as caught:
        sources_lock.locate_source(source, lock)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("lock", [{}, [], None, "text", {"PATH": None}, {"PATH": {}}, {"PATH": "abc"}])
def test_unlisted_sources_and_mangled_lock_files(lock: object, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "photos.zip", FILES)
    if isinstance(lock, dict):
        lock = {str(path): entry for entry in lock.values()}
    with pytest.raises(TintlabError, match="is not in the lock file: run `tintlab sources refresh`"):
        sources_lock.locate_source(SourceParams(path=str(path)), lock)


def test_the_expected_sha256(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "photos.zip", FILES)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    lock = recorded(SourceParams(path=str(path), sha256=right))
    assert lock == {str(path): {"digest": right}}
    wrong = SourceParams(path=str(path), sha256="0" * 64)
    for act in (lambda: sources_lock.locate_source(wrong, lock), lambda: recorded(wrong)):
        with pytest.raises(TintlabError) as caught:
            act()
        assert str(caught.value) == (
            f"source {path} has sha256 {right}, params.yaml expects {'0' * 64}: "
            "get the right file or correct fetch.sources"
        )


def test_a_recorded_source_that_is_gone(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "photos.zip", FILES)
    source = SourceParams(path=str(path))
    lock = recorded(source)
    path.unlink()
    with pytest.raises(TintlabError, match="does not exist"):
        sources_lock.locate_source(source, lock)
    with pytest.raises(TintlabError, match="does not exist"):
        recorded(source)


def copied(url: str, data: bytes) -> dict[str, Any]:
    """The lock file of a URL, with a copy of what it names."""
    digest = hashlib.sha256(data).hexdigest()
    path = sources_lock.copy_of(url, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return {url: {"digest": digest, "size": len(data)}}


def test_a_url_is_read_from_its_copy(tmp_path: Path) -> None:
    lock = copied(URL, write_zip(tmp_path / "a.zip", FILES).read_bytes())
    path = sources_lock.locate_source(SourceParams(path=URL), lock)
    assert path.name == "photos.zip"  # what origins in data/photos.csv start with
    assert sources_lock.compute_digest(path) == lock[URL]["digest"]


def test_guard_a_missing_or_damaged_copy_names_the_command(tmp_path: Path) -> None:
    lock = copied(URL, write_zip(tmp_path / "a.zip", {"a.jpg": b"1"}).read_bytes())
    path = sources_lock.locate_source(SourceParams(path=URL), lock)
    path.write_bytes(b"other bytes")
    with pytest.raises(TintlabError, match=r"photos\.zip is damaged: run `tintlab sources pull`"):
        sources_lock.locate_source(SourceParams(path=URL), lock)
    path.unlink()
    with pytest.raises(
        TintlabError, match=f"source {URL} is not on this machine: run `tintlab sources pull`"
    ):
        sources_lock.locate_source(SourceParams(path=URL), lock)


@pytest.mark.parametrize(
    "digest", ["../../../etc", "a" * 63, "A" * 64, "a" * 64 + "/..", 5, None, ["a" * 64]]
)
def test_guard_a_lock_file_can_t_name_a_path(digest: object) -> None:
    with pytest.raises(TintlabError, match="is not in the lock file"):
        sources_lock.locate_source(SourceParams(path=URL), {URL: {"digest": digest}})


# -- the inbox


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with two photographs in its inbox; the working directory is a temporary copy of DVC's of it."""
    inbox = tmp_path / paths.INBOX
    (inbox / "harbour").mkdir(parents=True)
    for name in ("README.md", "a.jpg", "harbour/b.jpg"):
        (inbox / name).write_text(name)
    folder = tmp_path / ".dvc/tmp/exps/tmp123"
    (folder / paths.INBOX).mkdir(parents=True)
    (folder / paths.INBOX / "README.md").write_text("as git has it")
    monkeypatch.chdir(folder)
    return tmp_path


def test_a_temporary_copy_takes_the_checkouts_inbox(copy: Path) -> None:
    recorded = sources_lock.record_inbox({"x.zip": {"digest": "0" * 64}}, copy / paths.INBOX)
    assert list(recorded) == ["x.zip", "data/inbox"]
    assert recorded["data/inbox"]["files"] == 2
    assert sources_lock.find_inbox(recorded) == copy / paths.INBOX


@pytest.mark.parametrize(
    "change", ["never recorded", "one more", "one less", "another content", "another name"]
)
def test_a_temporary_copy_refuses_an_inbox_not_as_recorded(copy: Path, change: str) -> None:
    recorded = sources_lock.record_inbox({}, copy / paths.INBOX) if change != "never recorded" else {}
    photo = copy / paths.INBOX / "a.jpg"
    if change == "one more":
        photo.with_name("c.jpg").write_text("c")
    elif change == "one less":
        photo.unlink()
    elif change == "another content":
        photo.write_text("z")
    elif change == "another name":
        photo.rename(photo.with_name("z.jpg"))
    advice = "run `tintlab sources refresh` and queue the experiment again"
    with pytest.raises(TintlabError, match=advice):
        sources_lock.find_inbox(recorded)


def test_an_inbox_that_was_recorded_must_not_be_missed(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = sources_lock.record_inbox({}, copy / paths.INBOX)
    monkeypatch.chdir(copy)
    assert sources_lock.find_inbox(recorded) == paths.INBOX
    for name in ("a.jpg", "harbour/b.jpg"):
        (paths.INBOX / name).unlink()
    with pytest.raises(
        TintlabError, match=r"not as recorded \(0 files, 2 were recorded\): restore it, or run"
    ):
        sources_lock.find_inbox(recorded)


def test_the_readme_of_an_inbox_does_not_count(copy: Path) -> None:
    assert sources_lock.inbox_entry(paths.INBOX) is None
    assert sources_lock.record_inbox({"data/inbox": {"digest": "0" * 64, "files": 1}}, paths.INBOX) == {}
    before = sources_lock.inbox_entry(copy / paths.INBOX)
    (copy / paths.INBOX / "README.md").write_text("another text")
    assert sources_lock.inbox_entry(copy / paths.INBOX) == before
