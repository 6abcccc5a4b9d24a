"""What killed processes leave: dvc.lock cut at any byte, DVC's locks of the dead."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo
from dvc.rwlock import rwlock
from ruamel.yaml import YAML

from tintlab.operations import dvc_repair
from tintlab.system import paths

OTHER = "0" * 32


def lock_file(stages: int = 3, md5: str = "9f86d081884c7d659a2feaa0c55ad015") -> str:
    lines = ["schema: '2.0'", "stages:"]
    for number in range(stages):
        lines += [f"  stage{number}:", f"    cmd: python -m tintlab.stages.stage{number}"]
        for kind in ("deps", "outs"):
            lines += [
                f"    {kind}:",
                f"    - path: data/{kind}{number}",
                "      hash: md5",
                f"      md5: {md5}.dir",
            ]
            lines += ["      size: 1234", "      nfiles: 12"]
    return "\n".join(lines) + "\n"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path / "state"))
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    return tmp_path


def test_guard_a_cut_dvc_lock_is_restored(repository: Path) -> None:
    """Guard: `dvc_repair.repair`. Cut between two stages, it may be an older one, and DVC's run cache knows."""
    whole = lock_file()
    paths.DVC_LOCK.write_text(whole)
    dvc_repair.back_up_dvc_lock()
    boundaries = {len(lock_file(count)) for count in (1, 2, 3)}
    for length in range(len(whole)):
        paths.DVC_LOCK.write_text(whole[:length])
        said = dvc_repair.repair()
        if length in boundaries:
            assert said == [] and paths.DVC_LOCK.read_text() == whole[:length]
        else:
            assert len(said) == 1 and re.match("dvc.lock (was cut short|is damaged): restored the c", said[0])
            assert paths.DVC_LOCK.read_text() == whole
        dvc_repair.back_up_dvc_lock()
        paths.dvc_lock_copy().write_text(whole)


@pytest.mark.parametrize(
    "broken", [b"\xff\xfe\n", b"stages: [\n", b"stages: none\n", b"- a\n", b"\0" * 90 + b"\n"]
)
def test_guard_a_damaged_dvc_lock_is_restored_never_copied(repository: Path, broken: bytes) -> None:
    """Guard: `dvc_repair.dvc_lock_fault`."""
    paths.DVC_LOCK.write_text(lock_file())
    dvc_repair.back_up_dvc_lock()
    paths.DVC_LOCK.write_bytes(broken)
    dvc_repair.back_up_dvc_lock()
    assert dvc_repair.dvc_lock_fault() == "is damaged"
    assert "restored" in dvc_repair.repair()[0]
    assert paths.DVC_LOCK.read_text() == lock_file()


def test_a_half_written_new_one_is_restored_from_the_one_before(repository: Path) -> None:
    paths.DVC_LOCK.write_text(lock_file())
    dvc_repair.back_up_dvc_lock()
    new = lock_file(md5=OTHER)
    paths.DVC_LOCK.write_text(new[: len(new) // 2])
    assert "cut short" in dvc_repair.repair()[0]
    assert paths.DVC_LOCK.read_text() == lock_file()


def test_without_a_copy_it_goes(repository: Path) -> None:
    paths.DVC_LOCK.write_text("")
    assert "removed" in dvc_repair.repair()[0]
    assert not paths.DVC_LOCK.exists()
    assert dvc_repair.repair() == []


def test_whole_ones_stay_as_they_are(repository: Path) -> None:
    for content in (lock_file(), lock_file(1), lock_file(3, OTHER), "schema: '2.0'\nstages: {}\n"):
        paths.DVC_LOCK.write_text(content)
        assert dvc_repair.repair() == []
        assert paths.DVC_LOCK.read_text() == content
        dvc_repair.back_up_dvc_lock()


def test_a_real_one_is_whole(repository: Path) -> None:
    """As this DVC writes it."""
    (repository / "dvc.yaml").write_text("stages:\n  a:\n    cmd: echo 1 > out\n    outs: [out]\n")
    with Repo.init(no_scm=True, force=True) as repo:
        repo.reproduce()
    assert set(YAML(typ="safe").load(paths.DVC_LOCK)["stages"]) == {"a"}
    assert dvc_repair.dvc_lock_fault() is None


# --- DVC's own locks


def take_dvc_lock(folder: Path, then: str) -> int:
    """Take DVC's lock on `folder`/out in another process, as a stage's run does; its number."""
    code = (
        "import os, sys, time\nfrom dvc.fs import localfs\nfrom dvc.rwlock import rwlock\n"
        "with rwlock(sys.argv[1], localfs, 'dvc repro', [sys.argv[1] + '/in'], [sys.argv[1] + '/out'], False):\n"
        f"    print(os.getpid(), flush=True)\n    {then}\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True, check=False
    )
    return int(process.stdout)


def dvc_would_run(folder: Path) -> bool:
    from dvc.fs import localfs
    from dvc.lock import LockError
    from dvc.rwlock import RWLockFileCorruptedError

    try:
        with rwlock(str(folder), localfs, "dvc repro", [], [f"{folder}/out"], False):
            return True
    except (LockError, RWLockFileCorruptedError):
        return False


@pytest.mark.parametrize("younger", [True, False])
@pytest.mark.parametrize("where", [".dvc/tmp", ".dvc/tmp/exps"])
def test_guard_a_lock_with_a_reused_process_number_is_cleared(
    repository: Path, where: str, younger: bool
) -> None:
    """Guard: `dvc_repair._clear_dead_locks`. DVC itself would wait for the other process for ever."""
    folder = repository / where
    folder.mkdir(exist_ok=True)
    dead = take_dvc_lock(folder, "os.kill(os.getpid(), 9)")
    # Of the same command, and younger; or older, and of another.
    living = subprocess.Popen(
        ["sh", "-c", "sleep 60; exit", "repro"] if younger else ["sleep", "60"], cwd="/"
    )
    lock = folder / "rwlock"
    lock.write_text(lock.read_text().replace(str(dead), str(living.pid)))
    assert not dvc_would_run(folder)
    if younger:
        os.utime(lock, (1e9, 1e9))
    assert dvc_repair.repair() == [f"cleared a lock of a dead process: {where}/rwlock: dvc repro"]
    assert dvc_would_run(folder)
    assert dvc_repair.repair() == []
    living.kill()
    living.wait()


@pytest.mark.parametrize("content", ["", '{"write": {"a"', "[]"])
def test_guard_an_unreadable_lock_file_is_rewritten(repository: Path, content: str) -> None:
    """Guard: `dvc_repair._living`. DVC would stop at it."""
    folder = repository / ".dvc/tmp"
    (folder / "rwlock").write_text(content)
    assert len(dvc_repair.repair()) == 1
    assert dvc_would_run(folder)


def test_a_living_one_s_lock_stays(repository: Path) -> None:
    from dvc.fs import localfs

    folder = repository / ".dvc/tmp"
    with rwlock(str(folder), localfs, "dvc repro", [], [f"{folder}/out"], False):
        before = json.loads((folder / "rwlock").read_text())
        assert dvc_repair.stale_locks() == dvc_repair.repair() == []
        assert json.loads((folder / "rwlock").read_text()) == before
