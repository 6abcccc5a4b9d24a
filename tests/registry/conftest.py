"""A registry with three tiny models in it, as it was, for each test."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from tintlab.gan.model_files import build_generator, save_generator
from tintlab.registry import models as registry
from tintlab.registry import register, verdicts
from tintlab.system import paths

CONFIG = {"generator": "unet", "size": 32, "channels": 4, "dropout": 0.5, "z_dim": 0, "working_size": 48}
Verdict = Callable[..., dict[str, Any]]


def make_model(folder: Path, seed: int, **config: Any) -> Path:
    torch.manual_seed(seed)
    wanted = CONFIG | config
    save_generator(folder, build_generator(wanted), wanted)
    return folder


def verdict_on(version: int, /, champion: int | None = None, **changes: Any) -> dict[str, Any]:
    """A passing verdict as the judge writes it."""
    against = registry.locate(f"models:/tintlab/{champion}").weights_sha256 if champion else None
    return {
        "version": version,
        "weights_sha256": registry.locate(f"models:/tintlab/{version}").weights_sha256,
        "champion": champion,
        "champion_weights_sha256": against,
        "passed": True,
        "reasons": [],
        "bound": {},
    } | changes


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three models of different weights."""
    folder = tmp_path_factory.mktemp("models")
    return [make_model(folder / str(seed), seed) for seed in (1, 2, 3)]


@pytest.fixture(scope="session")
def _three_versions(tmp_path_factory: pytest.TempPathFactory, models: list[Path]) -> tuple[Path, Path]:
    """A state folder whose store has versions 1 to 3, and a copy of it."""
    live = tmp_path_factory.mktemp("registry") / "state folder"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINTLAB_STATE", str(live))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for model in models:
            register.register(model)
    kept = live.with_name("kept")
    shutil.copytree(live, kept)
    return live, kept


@pytest.fixture
def state(_three_versions: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder whose store has versions 1 to 3, none of them judged or promoted."""
    live, kept = _three_versions
    # Not as a file: MLflow keeps its connections to the database open.
    with (
        closing(sqlite3.connect(kept / "mlflow.db")) as source,
        closing(sqlite3.connect(live / "mlflow.db")) as target,
    ):
        source.backup(target)
    for name in ("mlartifacts", "models"):
        shutil.rmtree(live / name, ignore_errors=True)
        if (kept / name).exists():
            shutil.copytree(kept / name, live / name)
    monkeypatch.setenv("TINTLAB_STATE", str(live))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return live


@pytest.fixture
def judged() -> Verdict:
    """A function that stores a verdict, a passing one unless told otherwise: `judged(2, champion=1)`."""

    def store(version: int, /, champion: int | None = None, **changes: Any) -> dict[str, Any]:
        verdict = verdict_on(version, champion, **changes)
        verdicts.store_verdict(version, verdict, None)
        return verdict

    return store


@pytest.fixture
def sql() -> Callable[..., list[tuple[Any, ...]]]:
    """A function that asks the store's database, not the client that wrote it."""

    def ask(query: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(paths.tracking_database())) as database:
            rows = database.execute(query, values).fetchall()
            database.commit()
            return rows

    return ask


@pytest.fixture
def alias(sql: Callable[..., list[tuple[Any, ...]]]) -> Callable[[], int | None]:
    """A function that tells which version the alias `champion` names in the database."""

    def named() -> int | None:
        rows = sql("select version from registered_model_aliases where name='tintlab' and alias='champion'")
        return rows[0][0] if rows else None

    return named


@pytest.fixture
def weights_of(state: Path) -> Callable[[int], Path]:
    """A function that finds the weights of a version in MLflow's artifact store."""

    def find(version: int) -> Path:
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{state}/mlflow.db", f"sqlite:///{state}/mlflow.db")
        source = client.get_model_version("tintlab", str(version)).source
        from urllib.parse import unquote, urlsplit

        return Path(unquote(urlsplit(source).path)) / "artifacts" / "model" / paths.WEIGHTS

    return find


@pytest.fixture(scope="session", autouse=True)
def _quiet() -> Iterator[None]:
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    yield
