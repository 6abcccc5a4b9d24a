"""What Prefect's forms offer, and how runs end that failed or were cancelled; no server is needed."""

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from prefect import Flow
from prefect.exceptions import FailedRun

from flows import common
from flows.film import film
from flows.retrain import retrain
from flows.rollback import rollback
from flows.score import score
from flows.watch import watch
from tests.scoring.conftest import make_model, make_settings
from tintlab.scoring.plan import PlannedPhoto
from tintlab.scoring.preview import make_preview

FLOWS = (retrain, score, film, rollback, watch)


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_every_parameter_is_described(flow: Flow[Any, Any]) -> None:
    for name, field in flow.parameters.properties.items():
        assert field.get("description"), name


def choices(flow: Flow[Any, Any], name: str) -> list[Any]:
    field = flow.parameters.properties[name]
    return next(one["enum"] for one in (field, *field.get("anyOf", [])) if "enum" in one)


def test_the_forms_offer_choices(repository: Path) -> None:
    assert choices(score, "file_format") == ["png", "jpeg", "webp"]
    assert choices(score, "depth") == [8, 16]
    assert choices(film, "codec") == ["h264", "hevc", "ffv1", "prores"]
    assert choices(retrain, "preset") == sorted(path.stem for path in (repository / "presets").glob("*.yaml"))
    assert {"variants", "seed", "saturation", "working_size", "hints", "descan", "page"} <= set(
        score.parameters.properties
    )


def test_a_failed_run_leaves_no_traceback_in_its_log() -> None:
    def record(error: Exception) -> logging.LogRecord:
        try:
            raise error
        except Exception:
            return logging.LogRecord("x", logging.ERROR, "", 0, "stopped", (), sys.exc_info())

    assert not common._is_no_repetition(record(FailedRun("no such folder")))
    assert common._is_no_repetition(record(ValueError("a fault of ours")))


def test_the_preview_shows_grey_beside_coloured(tmp_path: Path) -> None:
    settings = make_settings(make_model(tmp_path / "model"), tmp_path / "out")
    (tmp_path / "out").mkdir()
    photos = [PlannedPhoto(tmp_path / f"{n}.jpg", f"{n}.jpg", Path(f"{n}.png")) for n in range(4)]
    assert make_preview(photos, settings) is None
    for number in (1, 3):
        Image.fromarray(np.full((90, 60, 3), (200, 40, 40), np.uint8)).save(tmp_path / f"out/{number}.png")
    shown = make_preview(photos, settings)
    assert shown is not None and shown.startswith("data:image/jpeg;base64,")
    assert len(shown) < 100_000
