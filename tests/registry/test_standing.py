"""`base` as the first champion, and the words at the end of `make run` about which model won and why."""

from pathlib import Path

import pytest

from tests.registry.conftest import Verdict, make_model
from tintlab.inference import base_model
from tintlab.registry import models as registry
from tintlab.registry import promotion, register
from tintlab.registry.standing import adopt_base, describe_champion
from tintlab.tracking import store


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model in the place of the shipped one, and an empty registry."""
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(base_model, "FOLDER", make_model(tmp_path / "base", 9))
    return base_model.FOLDER


def test_base_becomes_the_first_champion_once(shipped: Path) -> None:
    assert describe_champion().startswith("there is no champion yet")
    assert adopt_base() == "base: version 1 is champion now, entry 1 of the history"
    assert adopt_base() == "version 1 is champion; base steps in only where there is none"
    found = registry.locate("champion")
    assert found.weights_sha256 == registry.locate("base").weights_sha256
    with store.connect() as client:
        assert len(registry.list_versions(client)) == 1
    assert describe_champion() == (
        "champion: version 1, base (the model that ships with tintlab, the first champion)"
    )


def test_the_last_words_say_which_model_won_and_why(shipped: Path, tmp_path: Path, judged: Verdict) -> None:
    adopt_base()
    register.register(make_model(tmp_path / "ours", 4))
    assert describe_champion().endswith(
        "\nversion 2 has not been judged against it: `tintlab judge` does that"
    )
    judged(2, champion=1, passed=False, reasons=["similarity: -0.01"])
    assert describe_champion().splitlines()[1] == "version 2 did not replace it: similarity: -0.01"
    judged(2, champion=1, reasons=["similarity: +0.02"])
    promotion.promote()
    assert describe_champion() == "champion: version 2 (similarity: +0.02)"
    assert adopt_base() == "version 2 is champion; base steps in only where there is none"


def test_a_version_names_the_model_that_it_was_trained_from(shipped: Path, tmp_path: Path) -> None:
    adopt_base()
    register.register(make_model(tmp_path / "ours", 4))
    with store.connect() as client:
        client.set_model_version_tag("tintlab", "2", register.PARENT_TAG, "base")
    assert "\nversion 2, trained from base has not been judged" in describe_champion()
