"""A version in MLflow as its users expect it: a card, a logged model, figures linked to datasets; read by SQL."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.registry.conftest import Verdict, make_model
from tintlab.registry import card, logged_model, register, verdicts
from tintlab.registry import models as registry
from tintlab.tracking import datasets, delivery, store
from tintlab.tracking.recorder import Recorder

FINGERPRINT = "fedcba9876543210"
Sql = Callable[..., list[tuple[Any, ...]]]


def split(name: str, digest: str, count: int) -> dict[str, str]:
    return {
        "name": datasets.name_of(name),
        "digest": digest,
        "source_type": "local",
        "source": json.dumps({"uri": f"data/lab/{name}.npy"}),
        "schema": json.dumps({"mlflow_colspec": [{"type": "string", "name": "photo", "required": True}]}),
        "profile": json.dumps({"photographs": count, "categories": {"boats": count}}),
        "context": datasets.CONTEXTS[name],
    }


SPLITS = [split("train", "a" * 32, 20), split("val", "b" * 32, 4), split("test", "c" * 32, 6)]


@pytest.fixture
def version(state: Path, tmp_path: Path) -> int:
    """A version of a training that has datasets and figures."""
    with Recorder(FINGERPRINT) as recorder:
        recorder.start(
            "train", {"train.generator": "unet", "train.epochs": 3}, {"git.commit": "c0ffee" * 6}, SPLITS
        )
        recorder.metrics({"loss_G": 1.0, "val_score": 0.5}, 10)
        recorder.metrics({"loss_G": 0.5, "val_score": 0.25}, 20)
        recorder.summary({"test.model.psnr": 21.5, "test.grey.psnr": 20.0})
        recorder.finish()
    delivery.sync()
    delivery.sync()  # nothing twice
    return register.register(make_model(tmp_path / "model", 7, fingerprint=FINGERPRINT)).version


def test_the_runs_datasets_have_dvcs_digest_and_a_context(version: int, sql: Sql) -> None:
    rows = sql(
        "select d.name, d.digest, t.value from datasets d join inputs i on i.source_id = d.dataset_uuid "
        "join input_tags t on t.input_uuid = i.input_uuid where t.name = 'mlflow.data.context' order by 1"
    )
    assert rows == [
        ("photographs-test", "c" * 32, "test"),
        ("photographs-train", "a" * 32, "train"),
        ("photographs-val", "b" * 32, "validation"),
    ]


def test_the_logged_models_figures_belong_to_the_datasets(version: int, sql: Sql, tmp_path: Path) -> None:
    with store.connect() as client:
        found = registry.get_version(client, version)
        model = client.get_logged_model(found.tags[logged_model.ID_TAG])
        run = client.get_run(found.run_id)
    assert (str(model.status), model.source_run_id) == ("READY", found.run_id)
    linked = sql(
        "select metric_name, metric_value, dataset_name, dataset_digest from logged_model_metrics "
        "where model_id = ? order by 1",
        model.model_id,
    )
    assert linked == [
        ("loss_G", 0.5, "photographs-train", "a" * 32),
        ("test.model.psnr", 21.5, "photographs-test", "c" * 32),
        ("val_score", 0.25, "photographs-val", "b" * 32),
    ]
    # The run's own curves have no point more than before.
    assert sql("select count(*) from metrics where run_uuid = ?", found.run_id) == [(6,)]
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]


def test_plain_mlflow_loads_the_logged_model(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    with store.connect() as client:
        model_id = registry.get_version(client, version).tags[logged_model.ID_TAG]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.tracking_uri())
    loaded = mlflow.pyfunc.load_model(f"models:/{model_id}")
    example = loaded.input_example
    assert loaded.predict(example)["image"][0].startswith(b"\x89PNG")
    assert set(loaded.metadata.metadata["signature"]) >= {"input", "output", "size", "saturation", "variants"}


def test_registering_again_makes_no_second_logged_model(version: int, sql: Sql, tmp_path: Path) -> None:
    before = sql("select count(*) from logged_models")
    assert not register.register(tmp_path / "model").new
    assert sql("select count(*) from logged_models") == before


def totals(psnr: float) -> dict[str, dict[str, float]]:
    return {
        "model": {"psnr": psnr, "judge_similarity": 0.75},
        "grey": {"psnr": 20.0, "judge_similarity": 0.7},
    }


def test_the_card_is_the_description_and_a_file(version: int, judged: Verdict, tmp_path: Path) -> None:
    with store.connect() as client:
        first = registry.get_version(client, version).description
    assert first.startswith("**not judged yet**")
    gain = {"figure": "psnr", "against": "champion", "value": 0.5, "low": -0.1, "high": 1.1, "sentence": "x"}
    judged(
        version,
        champion=1,
        photos=6,
        totals={"challenger": totals(21.5), "champion": totals(21.0)},
        checks=[gain],
        against_base={"value": 0.02, "low": 0.01, "high": 0.03},
    )
    with store.connect() as client:
        found = registry.get_version(client, version)
        folder = found.source.rpartition("/")[2]
        kept = Path(
            client.download_artifacts(found.run_id, f"registered/{folder}/{card.CARD}", str(tmp_path))
        )
    text = found.description
    assert text == kept.read_text()
    assert text.startswith("**passed against version 1** ([verdict](#/experiments/")
    assert "| measure | this version | champion, version 1 | grey | difference to the champion |" in text
    assert "| PSNR, dB (`psnr`) | 21.50 | 21.00 | 20.00 | +0.50 (−0.10 to +1.10) |" in text
    assert "Similarity changes against base by +0.0200 (+0.0100 to +0.0300)." in text
    assert "- photographs-test: 6 photographs (boats 6), DVC `" + "c" * 32 in text
    for heading in ("Figures", "Data", "Pictures", "Limits", "Lineage", "How to call it", "Licence"):
        assert f"## {heading}\n" in text
    assert len(text) <= card.LONGEST
    assert verdicts.read_verdict(version) is not None
