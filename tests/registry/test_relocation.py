"""A checkout that was copied or moved uses its own store, and never that of the place it came from."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.registry.conftest import verdict_on
from tintlab.registry import listing, promotion, register, verdicts
from tintlab.registry import models as registry
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.tracking import delivery, relocation, store
from tintlab.tracking.recorder import Recorder

Tree = dict[str, tuple[int, int, bytes]]


def snapshot(folder: Path) -> Tree:
    """Every file with its size, its time and its bytes."""
    found = {}
    for path in sorted(folder.rglob("*")):
        state = path.lstat()
        found[str(path.relative_to(folder))] = (
            state.st_size if path.is_file() else 0,
            state.st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
    return found


@pytest.fixture
def checkout(tmp_path: Path, models: list[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose `.tintlab` holds two versions, one of them champion, with a verdict and a run's artifact."""
    folder = tmp_path / "first checkout"
    use(folder, monkeypatch)
    for model in models[:2]:
        register.register(model)
    verdicts.store_verdict(1, verdict_on(1), None)
    promotion.promote(1)
    return folder


def use(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)
    patch.delenv("TINTLAB_STATE", raising=False)
    folder.mkdir(exist_ok=True)
    patch.chdir(folder)


def use_everything(models: list[Path]) -> str:
    """Use the store in the working directory by a process of its own, as commands do; what it says on stderr."""
    code = f"from {__name__} import command; from pathlib import Path; command({list(map(str, models))!r})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


def command(models: list[str]) -> None:
    """What writes to the store and to its artifacts, and what reads them."""
    shutil.rmtree(paths.downloaded_models())
    assert registry.locate("champion").version == 1
    assert verdicts.read_verdict(1)
    verdicts.store_verdict(2, verdict_on(2, champion=1), None)
    promotion.promote(2)
    promotion.rollback("a test")
    assert register.register(models[2]).version == 3
    with Recorder("0123456789abcdef") as recorder:
        recorder.start("train", {}, {})
        recorder.artifact(Path(models[0]) / "config.json", "model")
        recorder.finish()
    delivery.sync()
    assert "champion" in listing.list_models()


def test_a_copy_leaves_the_original_as_it_is(
    checkout: Path, models: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = checkout.with_name("copy")
    shutil.copytree(checkout, copy, symlinks=True)
    before = snapshot(checkout)
    use(copy, monkeypatch)
    said = use_everything(models)
    assert said.count(f"this store was in {checkout}/.tintlab; its records name {copy}/.tintlab") == 1
    assert snapshot(checkout) == before
    # And the other way round: the original knows nothing of the copy.
    after = snapshot(copy)
    use(checkout, monkeypatch)
    assert "this store was in" not in use_everything(models)
    assert snapshot(copy) == after


def test_a_moved_checkout_does_not_make_the_old_folder(
    checkout: Path, models: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = checkout.rename(checkout.with_name("moved"))
    use(moved, monkeypatch)
    use_everything(models)
    assert not checkout.exists()


def test_every_location_follows(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = checkout.rename(checkout.with_name("moved"))
    use(moved, monkeypatch)
    store.prepare_store()
    assert relocation.former_places(paths.tracking_database()) == []
    assert str(checkout).encode() not in paths.tracking_database().read_bytes().replace(b"%20", b" ")


def test_a_copy_without_artifacts_names_both_places(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = checkout.with_name("copy")
    (copy / ".tintlab").mkdir(parents=True)
    shutil.copy(paths.tracking_database(), copy / ".tintlab")
    before = snapshot(checkout)
    use(copy, monkeypatch)
    with pytest.raises(TintlabError) as refused:
        listing.list_models()
    assert f"{checkout}/.tintlab/mlartifacts" in str(refused.value)
    assert f"{copy}/.tintlab/mlartifacts" in str(refused.value)
    assert snapshot(checkout) == before


def test_a_checkout_reached_by_a_link_is_the_same(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    link = checkout.with_name("link")
    link.symlink_to(checkout)
    monkeypatch.setenv("TINTLAB_STATE", str(link / ".tintlab"))
    before = paths.tracking_database().read_bytes()
    listing.list_models()
    assert "this store was in" not in capsys.readouterr().err
    assert paths.tracking_database().read_bytes() == before


def test_two_commands_at_once_rewrite_it_once(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = checkout.rename(checkout.with_name("moved"))
    use(moved, monkeypatch)
    code = "from tintlab.tracking import store; store.prepare_store()"
    running = [
        subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env=os.environ)
        for _ in range(3)
    ]
    said = [process.communicate(timeout=100)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], said
    assert sum("this store was in" in text for text in said) == 1
