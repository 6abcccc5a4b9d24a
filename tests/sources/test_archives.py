import bz2
import gzip
import io
import os
import random
import stat
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from tests.ordinary_user import as_ordinary_user
from tintlab.sources.archives import read_members
from tintlab.sources.limits import Limits
from tintlab.system.errors import TintlabError

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
        list(read_members(path))
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


# --- read_members


@every_kind
def test_every_kind_of_source_gives_the_same_sorted_members(kind: str, tmp_path: Path) -> None:
    source = WRITERS[kind](tmp_path / kind, FILES | HIDDEN)
    found = list(read_members(source))
    assert {str(member.name): member.data for member in found} == FILES
    assert [str(member.name) for member in found] == sorted(FILES)


@every_kind
def test_only_files_of_one_name(kind: str, tmp_path: Path) -> None:
    source = WRITERS[kind](tmp_path / kind, FILES | {".hidden/ATTRIBUTION.csv": b"x"})
    found = list(read_members(source, only="ATTRIBUTION.csv"))
    assert [(str(member.name), member.data) for member in found] == [("a/ATTRIBUTION.csv", b"file\n")]


@every_kind
def test_an_empty_source_has_no_members(kind: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert list(read_members(WRITERS[kind](tmp_path / kind, {}))) == []


def test_leading_dots_of_member_names_are_not_hidden_folders(tmp_path: Path) -> None:
    source = write_tar(tmp_path / "photos.tar", {"./a/one.jpg": b"1"})  # as `tar c .` writes them
    assert [member.name for member in read_members(source)] == [PurePosixPath("a/one.jpg")]


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "inner.zip", {"inner.jpg": b"inner"}).read_bytes()
    source = write_tar(tmp_path / "photos.tar", {"outer.jpg": b"outer", "z.zip": inner})
    assert zipfile.is_zipfile(source)  # what misleads
    assert [str(member.name) for member in read_members(source)] == ["outer.jpg", "z.zip"]


def test_a_source_is_told_by_its_content_not_its_name(tmp_path: Path) -> None:
    source = write_tar(tmp_path / "photos.zip", {"one.jpg": b"1"}, "w:gz")
    assert [member.data for member in read_members(source)] == [b"1"]


def test_a_compressed_tar_is_unpacked_once_in_whatever_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"{number:03d}.jpg": noise(number, 20_000) for number in reversed(range(100))}
    source = write_tar(tmp_path / "photos.tar.gz", files, "w:gz")
    rewinds = []
    rewind = gzip._GzipReader._rewind  # type: ignore[attr-defined]
    monkeypatch.setattr(gzip._GzipReader, "_rewind", lambda self: (rewinds.append(1), rewind(self))[1])
    assert {str(member.name): member.data for member in read_members(source)} == files
    assert len(rewinds) < 5


# --- archives that do harm


@pytest.mark.parametrize("name", ["../evil.jpg", "a/../../evil.jpg", "/etc/evil.jpg", "..\\evil.jpg"])
@pytest.mark.parametrize("kind", ["photos.zip", "photos.tar", "photos.tar.gz"])
def test_members_outside_are_refused_before_any_is_read(kind: str, name: str, tmp_path: Path) -> None:
    source = WRITERS[kind](tmp_path / kind, {"a.jpg": b"1", name: b"evil"})
    message = fault(source)
    assert "leaves the archive" in message
    assert repr(name) in message
    with pytest.raises(TintlabError):
        next(read_members(source))
    assert not list(tmp_path.rglob("evil.jpg"))


def tar_of(path: Path, *entries: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tar_entry("photo.jpg", 3), io.BytesIO(b"pic"))
        for entry in entries:
            archive.addfile(entry, io.BytesIO(bytes(entry.size)))
    return path


def test_links_inside_an_archive_are_left_out(tmp_path: Path) -> None:
    source = tar_of(
        tmp_path / "photos.tar",
        tar_entry("a/link.jpg", kind=tarfile.SYMTYPE, target="../photo.jpg"),
        tar_entry("hard.jpg", kind=tarfile.LNKTYPE, target="photo.jpg"),
        tar_entry("folder", kind=tarfile.DIRTYPE),
    )
    assert [member.data for member in read_members(source)] == [b"pic"]


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../secret.jpg", "..", "a/../../secret.jpg", "..\\secret.jpg"]
)
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_guard_links_out_of_a_tar_are_refused(kind: bytes, target: str, tmp_path: Path) -> None:
    source = tar_of(tmp_path / "photos.tar", tar_entry("link.jpg", kind=kind, target=target))
    assert "leaves the archive" in fault(source)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_guard_devices_in_tars_are_refused(kind: bytes, tmp_path: Path) -> None:
    assert "'null.jpg', a device" in fault(tar_of(tmp_path / "photos.tar", tar_entry("null.jpg", kind=kind)))


def zip_of_link(path: Path, target: str, mode: int = stat.S_IFLNK) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("a/link.jpg")
        link.external_attr = (mode | 0o777) << 16
        archive.writestr(link, target)
        archive.writestr("photo.jpg", b"pic")
    return path


def test_links_inside_a_zip_are_left_out(tmp_path: Path) -> None:
    source = zip_of_link(tmp_path / "photos.zip", "../photo.jpg")
    assert [member.data for member in read_members(source)] == [b"pic"]


@pytest.mark.parametrize("target", ["/etc/passwd", "../../secret.jpg"])
def test_guard_links_out_of_a_zip_are_refused(target: str, tmp_path: Path) -> None:
    assert "leaves the archive" in fault(zip_of_link(tmp_path / "photos.zip", target))


def test_guard_devices_in_zips_are_refused(tmp_path: Path) -> None:
    assert "a device" in fault(zip_of_link(tmp_path / "photos.zip", "", stat.S_IFCHR))


@pytest.mark.parametrize("kind", ["photos.zip", "photos.tar"])
def test_guard_a_name_twice_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / kind
    if kind == "photos.zip":
        with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.jpg", b"1")
            archive.writestr("a.jpg", b"2")
    else:
        tar_of(path, tar_entry("a.jpg", 1), tar_entry("./a.jpg", 1))
    assert "twice" in fault(path)


def test_guard_an_endless_name_is_refused(tmp_path: Path) -> None:
    assert "a name of 5000 letters" in fault(write_zip(tmp_path / "photos.zip", {"a/" * 2500: b""}))


def test_links_and_pipes_in_folders(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "photos", {"one.jpg": b"1"})
    (folder / "link.jpg").symlink_to(folder / "one.jpg")
    (folder / "broken.jpg").symlink_to(tmp_path / "absent")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.jpg")
    assert [str(member.name) for member in read_members(folder)] == ["link.jpg", "one.jpg"]


def test_linked_folders_are_refused_or_followed(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "photos", {"one.jpg": b"1"})
    write_folder(tmp_path / "album", {"two.jpg": b"2"})
    (folder / "album").symlink_to(tmp_path / "album")
    (tmp_path / "album/back").symlink_to(folder)
    assert "album is a linked folder, which is not entered: name its target" in fault(folder)
    found = read_members(folder, follow_links=True)
    assert [str(member.name) for member in found] == ["album/two.jpg", "one.jpg"]


def test_folders_that_can_t_be_read_are_refused(open_folder: Path) -> None:
    folder = write_folder(open_folder / "photos", {"one.jpg": b"1", "secret/two.jpg": b"2"})
    folder.chmod(0o755)  # for the other user, whatever the umask
    (folder / "secret").chmod(0o000)
    words = as_ordinary_user(lambda: fault(folder))
    assert "secret can't be entered: Permission denied: change its permissions" in words


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


SMALL = Limits(files=10, ratio=50)


def limited(path: Path, limits: Limits) -> str:
    with pytest.raises(TintlabError) as caught:
        list(read_members(path, limits=limits))
    return str(caught.value)


@pytest.mark.parametrize("kind", ["photos.zip", "photos.tar", "photos.tar.gz"])
def test_guard_the_count_of_entries(kind: str, tmp_path: Path) -> None:
    source = WRITERS[kind](tmp_path / kind, {f"{number}.jpg": b"x" for number in range(11)})
    assert "more than fetch.max_files 10 entries" in limited(source, SMALL)
    assert len(list(read_members(source, limits=Limits(files=11)))) == 11


@pytest.mark.parametrize("kind", ["photos.zip", "photos.tar.gz", "photos.tar.xz"])
def test_guard_ratio_bombs_are_refused_before_they_are_unpacked(kind: str, tmp_path: Path) -> None:
    source = WRITERS[kind](tmp_path / kind, {"zeros.jpg": bytes(101_000_000)})
    assert "more than fetch.max_ratio 50 times" in limited(source, SMALL)
    assert len(next(read_members(source, limits=Limits(ratio=1e6))).data) == 101_000_000


@pytest.mark.parametrize("kind", ["photos.zip", "photos.tar.gz"])
def test_guard_the_total_is_limited(kind: str, tmp_path: Path) -> None:
    source = WRITERS[kind](tmp_path / kind, {"1.jpg": bytes(80_000_000), "2.jpg": bytes(80_000_000)})
    assert "more than fetch.max_gigabytes 0.15" in limited(source, Limits(gigabytes=0.15, ratio=1e9))


def test_blank_scans_are_no_bombs(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "photos.zip", {"blank.bmp": bytes(20_000_000)})
    assert source.stat().st_size < 20_000_000 / SMALL.ratio
    assert len(list(read_members(source, limits=SMALL))) == 1


def test_guard_sparse_members_count_as_large_as_they_say(tmp_path: Path) -> None:
    entry = tar_entry("hole.jpg", 0, tarfile.GNUTYPE_SPARSE)
    header = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\0" % 300_000_000  # what the file would be with its holes
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "photos.tar").write_bytes(bytes(header) + bytes(10240))
    assert "fetch.max_ratio" in limited(tmp_path / "photos.tar", SMALL)


def test_guard_a_header_of_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    # A name of 80 MB, as GNU tar stores long names: all zeros, so that little of it is stored.
    name = tar_entry("././@LongLink", 80 << 20, tarfile.GNUTYPE_LONGNAME)
    with gzip.open(tmp_path / "photos.tar.gz", "wb") as file:
        file.write(name.tobuf(tarfile.GNU_FORMAT) + b"a" * (80 << 20) + tar_entry("a").tobuf() + bytes(1024))
    tracemalloc.start()
    message = fault(tmp_path / "photos.tar.gz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "headers of more than 64 MB" in message
    assert peak < 150 << 20


def test_overlapping_zip_members_are_counted_one_by_one(tmp_path: Path) -> None:
    """All entries of the directory mean the same data, as in the bombs of David Fifield."""
    data = write_zip(tmp_path / "one.zip", {"0.jpg": bytes(20_000_000)}).read_bytes()
    start, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    entry = data[start:end]
    directory = b"".join(entry.replace(b"0.jpg", b"%d.jpg" % number) for number in range(10))
    tail = bytearray(data[end:])
    tail[8:16] = (10).to_bytes(2, "little") * 2 + len(directory).to_bytes(4, "little")
    (tmp_path / "photos.zip").write_bytes(data[:start] + directory + tail)
    assert "fetch.max_ratio" in limited(tmp_path / "photos.zip", SMALL)


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


def test_guard_encrypted_zips_are_refused_before_any_is_read(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "photos.zip", {"1.jpg": b"1", "2.jpg": b"2"})
    data = bytearray(source.read_bytes())
    data[data.rindex(b"PK\3\4") + 6] |= 1  # the flag in the second's local header and in the directory
    data[data.rindex(b"PK\1\2") + 8] |= 1
    source.write_bytes(data)
    with pytest.raises(TintlabError, match="is encrypted: unpack it with its password"):
        next(read_members(source))


@pytest.mark.parametrize("data", [b"", b"just a text\n", b"PK\3\4 not really", bz2.compress(b"no tar")])
def test_files_that_are_no_archive(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "photos.zip").write_bytes(data)
    assert "archive" in fault(tmp_path / "photos.zip")


def test_nothing_there(tmp_path: Path) -> None:
    assert fault(tmp_path / "absent").endswith("does not exist: restore it, or take it out of the sources")


def test_a_pipe_is_no_source_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "neither a folder nor" in fault(tmp_path / "pipe")
