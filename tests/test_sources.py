import bz2
import gzip
import hashlib
import io
import os
import random
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from tintlab import sources
from tintlab.errors import TintlabError
from tintlab.params import SourceParams

FILES = {
    "b/two.jpg": b"two",
    "a/one.jpg": b"one" * 500,
    "top.png": b"top",
    "a/ATTRIBUTION.csv": b"file\n",
    "ümläut/фото.jpg": b"three",
}
HIDDEN = {
    ".DS_Store": b"x",
    "a/._one.jpg": b"x",
    ".git/config": b"x",
    "__MACOSX/a/one.jpg": b"x",
    "a/.thumbs/one.jpg": b"x",
}


def write_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            archive.addfile(tar_entry(name, len(data)), io.BytesIO(data))
    return path


def tar_entry(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type, entry.linkname = size, kind, target
    return entry


WRITERS: dict[str, Callable[[Path, dict[str, bytes]], Path]] = {
    "folder": write_folder,
    "photos.zip": write_zip,
    "photos.tar": write_tar,
    "photos.tar.gz": lambda path, files: write_tar(path, files, "w:gz"),
    "photos.tar.bz2": lambda path, files: write_tar(path, files, "w:bz2"),
    "photos.tar.xz": lambda path, files: write_tar(path, files, "w:xz"),
}
every_kind = pytest.mark.parametrize("kind", WRITERS)


def noise(number: int, size: int = 3000) -> bytes:
    """Bytes that compress to about half."""
    return random.Random(number).randbytes(size // 2).hex().encode()


def fault(path: Path) -> str:
    with pytest.raises(TintlabError) as caught:
        list(sources.members(path))
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


# --- members


@every_kind
def test_every_kind_of_source_gives_the_same_sorted_members(kind: str, tmp_path: Path) -> None:
    source = WRITERS[kind](tmp_path / kind, FILES | HIDDEN)
    found = list(sources.members(source))
    assert {str(member.name): member.data for member in found} == FILES
    assert [str(member.name) for member in found] == sorted(FILES)


@every_kind
def test_only_files_of_one_name(kind: str, tmp_path: Path) -> None:
    source = WRITERS[kind](tmp_path / kind, FILES | {".hidden/ATTRIBUTION.csv": b"x"})
    found = list(sources.members(source, only="ATTRIBUTION.csv"))
    assert [(str(member.name), member.data) for member in found] == [("a/ATTRIBUTION.csv", b"file\n")]


@every_kind
def test_an_empty_source_has_no_members(kind: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert list(sources.members(WRITERS[kind](tmp_path / kind, {}))) == []


def test_leading_dots_of_member_names_are_not_hidden_folders(tmp_path: Path) -> None:
    source = write_tar(tmp_path / "photos.tar", {"./a/one.jpg": b"1"})  # as `tar c .` writes them
    assert [member.name for member in sources.members(source)] == [PurePosixPath("a/one.jpg")]


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "inner.zip", {"inner.jpg": b"inner"}).read_bytes()
    source = write_tar(tmp_path / "photos.tar", {"outer.jpg": b"outer", "z.zip": inner})
    assert zipfile.is_zipfile(source)  # what misleads
    assert [str(member.name) for member in sources.members(source)] == ["outer.jpg", "z.zip"]


def test_a_source_is_told_by_its_content_not_its_name(tmp_path: Path) -> None:
    source = write_tar(tmp_path / "photos.zip", {"one.jpg": b"1"}, "w:gz")
    assert [member.data for member in sources.members(source)] == [b"1"]


def test_a_compressed_tar_is_unpacked_once_however_its_members_are_sorted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"{number:03d}.jpg": noise(number, 20_000) for number in reversed(range(100))}
    source = write_tar(tmp_path / "photos.tar.gz", files, "w:gz")
    rewinds = []
    rewind = gzip._GzipReader._rewind  # type: ignore[attr-defined]
    monkeypatch.setattr(gzip._GzipReader, "_rewind", lambda self: (rewinds.append(1), rewind(self))[1])
    assert {str(member.name): member.data for member in sources.members(source)} == files
    assert len(rewinds) < 5


# --- archives that do harm


@pytest.mark.parametrize("name", ["../evil.jpg", "a/../../evil.jpg", "/etc/evil.jpg", "..\\evil.jpg"])
@pytest.mark.parametrize("kind", ["photos.zip", "photos.tar", "photos.tar.gz"])
def test_members_outside_the_archive_are_refused_before_any_is_read(
    kind: str, name: str, tmp_path: Path
) -> None:
    source = WRITERS[kind](tmp_path / kind, {"a.jpg": b"1", name: b"evil"})
    message = fault(source)
    assert "leaves the archive" in message
    assert repr(name) in message
    with pytest.raises(TintlabError):
        next(sources.members(source))
    assert not list(tmp_path.rglob("evil.jpg"))


def test_links_and_devices_in_tars_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    with tarfile.open(tmp_path / "photos.tar", "w") as archive:
        archive.addfile(tar_entry("link.jpg", kind=tarfile.SYMTYPE, target=str(tmp_path / "secret.jpg")))
        archive.addfile(tar_entry("hard.jpg", kind=tarfile.LNKTYPE, target="../secret.jpg"))
        archive.addfile(tar_entry("null.jpg", kind=tarfile.CHRTYPE))
        archive.addfile(tar_entry("pipe.jpg", kind=tarfile.FIFOTYPE))
        archive.addfile(tar_entry("folder", kind=tarfile.DIRTYPE))
        archive.addfile(tar_entry("photo.jpg", 3), io.BytesIO(b"pic"))
    assert [member.data for member in sources.members(tmp_path / "photos.tar")] == [b"pic"]


def test_links_in_zips_are_left_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, str(tmp_path))
        archive.writestr("photo.jpg", b"pic")
    assert [member.data for member in sources.members(tmp_path / "photos.zip")] == [b"pic"]


def test_links_and_pipes_in_folders(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "photos", {"one.jpg": b"1"})
    (folder / "link.jpg").symlink_to(folder / "one.jpg")
    (folder / "broken.jpg").symlink_to(tmp_path / "absent")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.jpg")
    assert [str(member.name) for member in sources.members(folder)] == ["link.jpg", "one.jpg"]


def test_bombs_are_refused_by_their_header(tmp_path: Path) -> None:
    sparse = tar_entry("bomb.jpg", 5 << 30)
    (tmp_path / "bomb.tar").write_bytes(sparse.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with (tmp_path / "bomb.tar").open("r+b") as file:
        file.truncate(512 + (5 << 30) + 1024)  # a hole: no space on the disk
    assert "'bomb.jpg' of 5.4 GB" in fault(tmp_path / "bomb.tar")
    folder = tmp_path / "folder"
    folder.mkdir()
    with (folder / "film.mp4").open("wb") as file:
        file.truncate(5 << 30)
    assert "'film.mp4' of 5.4 GB" in fault(folder)


# --- damage


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if kind != "folder"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
def test_archives_that_are_cut_short(kind: str, share: float, tmp_path: Path) -> None:
    whole = WRITERS[kind](tmp_path / kind, {f"{i}.jpg": noise(i) for i in range(20)})
    data = whole.read_bytes()
    whole.write_bytes(data[: int(len(data) * share)])
    fault(whole)


def test_tars_that_end_between_two_members(tmp_path: Path) -> None:
    source = write_tar(
        tmp_path / "photos.tar", {"1.jpg": bytes(512), "2.jpg": bytes(512), "3.jpg": bytes(512)}
    )
    source.write_bytes(source.read_bytes()[:2048])
    assert "damaged" in fault(source)


def test_tars_with_a_broken_header_inside(tmp_path: Path) -> None:
    source = write_tar(
        tmp_path / "photos.tar", {"1.jpg": bytes(512), "2.jpg": bytes(512), "3.jpg": bytes(512)}
    )
    data = bytearray(source.read_bytes())
    data[1024 + 3] ^= 0xFF  # in the name of 2.jpg, so that its checksum fails
    source.write_bytes(data)
    assert "damaged" in fault(source)


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if kind not in ("folder", "photos.tar")])
def test_archives_with_damage_inside(kind: str, tmp_path: Path) -> None:
    source = WRITERS[kind](tmp_path / kind, {f"{i}.jpg": noise(i) for i in range(20)})
    data = bytearray(source.read_bytes())
    for position in range(len(data) // 3, len(data) // 3 + 40):
        data[position] ^= 0x5A
    source.write_bytes(data)
    assert "archive" in fault(source)


def test_encrypted_zips(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "photos.zip", {"1.jpg": b"1"})
    data = bytearray(source.read_bytes())
    data[6] |= 1  # the flag in the local header and in the directory
    data[data.index(b"PK\1\2") + 8] |= 1
    source.write_bytes(data)
    assert "encrypted" in fault(source)


@pytest.mark.parametrize("data", [b"", b"just a text\n", b"PK\3\4 not really", bz2.compress(b"no tar")])
def test_files_that_are_no_archive(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "photos.zip").write_bytes(data)
    assert "archive" in fault(tmp_path / "photos.zip")


def test_nothing_there(tmp_path: Path) -> None:
    assert fault(tmp_path / "absent").endswith("does not exist: restore it, or take it out of the sources")


def test_a_pipe_is_no_source_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "neither a folder nor" in fault(tmp_path / "pipe")


def test_a_folder_that_may_not_be_read_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path / "photos", {"a/1.jpg": b"1", "b/2.jpg": b"2"})
    scandir = os.scandir

    def refusing(path: str) -> object:  # root, who may run the tests, may read everything
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(PermissionError):
        list(sources.members(folder))


# --- digests and the lock file


def test_the_digest_of_an_archive_is_its_files(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "photos.zip", FILES)
    assert sources.digest(source) == hashlib.sha256(source.read_bytes()).hexdigest()


def test_the_digest_of_a_folder_is_of_names_and_contents(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "photos", {"b.jpg": b"2", "a.jpg": b"1"})
    listing = "".join(
        f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in [("a.jpg", b"1"), ("b.jpg", b"2")]
    )
    before = sources.digest(folder)
    assert (
        before == hashlib.sha256(listing.encode()).hexdigest()
    )  # what `sha256sum a.jpg b.jpg | sha256sum` says
    os.utime(folder / "a.jpg", (0, 0))
    (folder / ".DS_Store").write_bytes(b"x")
    assert sources.digest(folder) == before
    (folder / "a.jpg").write_bytes(b"3")
    assert sources.digest(folder) != before
    (folder / "a.jpg").write_bytes(b"1")
    (folder / "a.jpg").rename(folder / "c.jpg")
    assert sources.digest(folder) != before


def test_digests_of_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TintlabError, match="does not exist"):
        sources.digest(tmp_path / "absent.zip")


@every_kind
def test_recorded_sources_pass_until_they_change(kind: str, tmp_path: Path) -> None:
    path = WRITERS[kind](tmp_path / kind, FILES)
    source = SourceParams(path=str(path))
    lock = sources.record((source,))
    sources.check(source, lock)
    WRITERS[kind](path, FILES | {"new.jpg": b"new"})
    with pytest.raises(
        TintlabError, match=r"changed since it was recorded: run `tintlab sources refresh`"
    ) as caught:
        sources.check(source, lock)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("lock", [{}, [], None, "text", {"PATH": None}, {"PATH": {}}, {"PATH": "abc"}])
def test_unlisted_sources_and_mangled_lock_files(lock: object, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "photos.zip", FILES)
    if isinstance(lock, dict):
        lock = {str(path): entry for entry in lock.values()}
    with pytest.raises(TintlabError, match="is not in the lock file: run `tintlab sources refresh`"):
        sources.check(SourceParams(path=str(path)), lock)


def test_the_expected_sha256(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "photos.zip", FILES)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    lock = sources.record((SourceParams(path=str(path), sha256=right),))
    assert lock == {str(path): {"digest": right}}
    wrong = SourceParams(path=str(path), sha256="0" * 64)
    for act in (lambda: sources.check(wrong, lock), lambda: sources.record((wrong,))):
        with pytest.raises(TintlabError) as caught:
            act()
        assert str(caught.value) == (
            f"source {path} has sha256 {right}, params.yaml expects {'0' * 64}: "
            "get the right file or correct fetch.sources"
        )


def test_a_recorded_source_that_is_gone(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "photos.zip", FILES)
    source = SourceParams(path=str(path))
    lock = sources.record((source,))
    path.unlink()
    with pytest.raises(TintlabError, match="does not exist"):
        sources.check(source, lock)
    with pytest.raises(TintlabError, match="does not exist"):
        sources.record((source,))
