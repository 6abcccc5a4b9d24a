"""Registering and finding models."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.registry.conftest import Verdict, make_model
from tintlab.evaluation import methods
from tintlab.inference import base_model
from tintlab.inference.colorizer import Colorizer
from tintlab.operations import doctor
from tintlab.registry import listing, promotion, register, verdicts
from tintlab.registry import models as registry
from tintlab.system import paths, processes
from tintlab.system.errors import TintlabError
from tintlab.tracking import store

Sql = Callable[..., list[tuple[Any, ...]]]

pytestmark = pytest.mark.usefixtures("state")


def test_a_registered_model_is_found_by_number_alias_and_word(models: list[Path]) -> None:
    by_number = registry.locate("models:/tintlab/3")
    assert by_number == registry.locate("models:/tintlab@challenger") == registry.locate("challenger")
    assert (by_number.version, by_number.uri) == (3, "models:/tintlab/3")
    assert by_number.run_id
    for name in (paths.WEIGHTS, paths.MODEL_CONFIG):
        assert (by_number.folder / name).read_bytes() == (models[2] / name).read_bytes()


def test_a_local_folder_is_found_as_it_is(models: list[Path]) -> None:
    found = registry.locate(str(models[0]))
    assert (found.folder, found.version, found.run_id, found.uri) == (models[0], None, None, str(models[0]))
    assert found.weights_sha256 == registry.locate("models:/tintlab/1").weights_sha256


def test_a_located_model_colours_as_the_one_that_was_registered(models: list[Path]) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)
    ours, original = registry.load_colorizer("models:/tintlab/2"), Colorizer.load(models[1])
    assert np.array_equal(ours.colorize(photo), original.colorize(photo))


def test_without_a_champion_the_shipped_model_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert registry.default_spec() == "base"
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path / "nothing there"))
    assert registry.default_spec() == "base"
    for spec in ("champion", "models:/tintlab/1"):
        with pytest.raises(TintlabError, match=f"there is no {spec}: there is no registry in "):
            registry.locate(spec)
    assert not (tmp_path / "nothing there").exists()


def test_the_shipped_model_is_found_by_its_name(models: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_model, "FOLDER", models[0])
    found = registry.locate("base")
    assert (found.folder, found.version, found.uri, found.name) == (models[0], None, "base", "base")
    monkeypatch.setattr(base_model, "FOLDER", models[0] / "nothing")
    with pytest.raises(TintlabError, match=r"base is incomplete .* reinstall tintlab"):
        registry.locate("base")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("champoin", "did you mean champion?"),
        ("Champion", "did you mean champion?"),
        ("challanger", "did you mean challenger?"),
        ("bsae", "did you mean base?"),
        ("mine", "there are champion, challenger, base, models:/tintlab/3 and folders"),
    ],
)
def test_an_unknown_name_is_one_line_with_advice(name: str, advice: str) -> None:
    with pytest.raises(TintlabError) as fault:
        registry.locate(name)
    assert str(fault.value) == f"no model is named {name}: {advice}"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("models:/tintlab/9", "there is no version 9 of tintlab: `tintlab models` lists what there is"),
        ("models:/tintlab@nobody", "no version of tintlab has the alias nobody"),
        ("champion", "there is no champion yet"),
        ("models:/other/1", "models:/other/1 names no model: write models:/tintlab@champion"),
        ("models:/tintlab/01", "names no model"),
        ("models:/tintlab@challanger", "no version .* has the alias challanger: did you mean challenger?"),
        ("no/such/folder", "there is no folder no/such/folder"),
        (str(Path(__file__).parent), r"no model in .*registry \(generator.safetensors is missing\)"),
        (__file__, "is a file: name the folder of a model"),
    ],
)
def test_what_is_not_there_is_said(spec: str, message: str) -> None:
    with pytest.raises(TintlabError, match=message) as fault:
        registry.locate(spec)
    assert "\n" not in str(fault.value)


def test_a_server_that_is_gone_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    for command in (
        registry.default_spec,
        lambda: registry.locate("champion"),
        lambda: verdicts.read_verdict(1),
    ):
        with pytest.raises(TintlabError, match=r"MLflow at http://127.0.0.1:9 can't be reached"):
            command()


# -- files


def test_a_model_that_was_used_here_needs_no_artifact_store(weights_of: Callable[[int], Path]) -> None:
    first = registry.locate("models:/tintlab/1")
    weights_of(1).unlink()
    assert registry.locate("models:/tintlab/1") == first


def test_a_damaged_copy_on_this_disk_is_replaced() -> None:
    first = registry.locate("models:/tintlab/1")
    (first.folder / paths.WEIGHTS).write_bytes(b"damaged")
    assert registry.locate("models:/tintlab/1") == first
    assert registry.hash_folder(first.folder)[paths.WEIGHTS] == first.weights_sha256


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda path: path.write_bytes(b"other"),
            r"generator.safetensors of version 1 was changed after it was reg",
        ),
        (lambda path: path.unlink(), r"version 1 has lost generator.safetensors at "),
        (
            lambda path: shutil.rmtree(path.parent),
            r"version 1 has lost config.json and generator.safetensors at ",
        ),
    ],
)
def test_files_that_are_not_what_was_registered_are_refused(
    damage: Callable[[Path], None], message: str, weights_of: Callable[[int], Path]
) -> None:
    damage(weights_of(1))
    with pytest.raises(TintlabError, match=message):
        registry.locate("models:/tintlab/1")
    assert not list(paths.downloaded_models().glob("*/*")) if paths.downloaded_models().exists() else True


def test_a_version_made_by_hand_bears_no_sha256_and_is_refused() -> None:
    with store.connect() as client:
        kept = registry.get_version(client, 1)
        client.create_model_version("tintlab", kept.source, kept.run_id)
    with pytest.raises(TintlabError, match="version 4 was not made by `tintlab register`"):
        registry.locate("models:/tintlab/4")


# -- registering


def test_the_same_model_is_registered_once(models: list[Path], tmp_path: Path, sql: Sql) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(models[0], copy)
    assert register.register(copy) == register.register(models[0])
    assert register.register(models[0]).version == 1
    assert not register.register(models[0]).new
    assert sql("select count(*) from model_versions where name='tintlab'") == [(3,)]
    assert registry.locate("challenger").version == 1


def test_another_config_is_another_model(models: list[Path], tmp_path: Path) -> None:
    shutil.copytree(models[0], tmp_path / "vivid")
    config = json.loads((models[0] / "config.json").read_text()) | {"saturation": 1.5}
    (tmp_path / "vivid" / "config.json").write_text(json.dumps(config))
    done = register.register(tmp_path / "vivid")
    assert (done.version, done.new) == (4, True)


def test_several_at_once_register_it_once(tmp_path: Path, sql: Sql) -> None:
    model = make_model(tmp_path / "model", 77)
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(register.register, [model] * 4))
    assert {one.version for one in done} == {4}
    assert sorted(one.new for one in done) == [False, False, False, True]
    assert sql("select count(*) from model_versions where name='tintlab'") == [(4,)]


def test_no_model_and_a_damaged_one_are_said(tmp_path: Path) -> None:
    with pytest.raises(TintlabError, match=r"there is no folder .*nothing"):
        register.register(tmp_path / "nothing")
    model = make_model(tmp_path / "model", 1)
    (model / paths.WEIGHTS).write_bytes(b"no weights")
    with pytest.raises(TintlabError, match=r"generator.safetensors is damaged"):
        register.register(model)


# -- verdicts


def test_a_verdict_is_kept_with_its_page_and_linked(judged: Verdict, tmp_path: Path, sql: Sql) -> None:
    assert verdicts.read_verdict(2) is None
    page = tmp_path / "page.html"
    page.write_text("<p>the photos that changed most</p>")
    verdict = judged(2)
    verdicts.store_verdict(2, verdict | {"reasons": ["ΔE00 too large"]}, page)
    assert verdicts.read_verdict(2) == verdict | {"reasons": ["ΔE00 too large"]}
    assert verdicts.read_verdict(1) is None
    [(text,)] = sql("select description from model_versions where name='tintlab' and version=2")
    run = registry.locate("models:/tintlab/2").run_id
    first = text.partition("\n")[0]
    assert first.startswith("**passed without a champion** ([verdict](#/experiments/")
    assert first.endswith(f"/runs/{run}/artifacts/verdicts/2.html?workflowType=machine_learning))")
    with store.connect() as client:
        names = [artifact.path for artifact in client.list_artifacts(str(run), "verdicts")]
    assert names == ["verdicts/2.html", "verdicts/2.json"]


# -- versions with old serving code


@pytest.fixture
def old_versions(state: Path, sql: Sql) -> None:
    """All versions as they were registered before their code had a generation."""
    sql("delete from model_version_tags where key = 'tintlab.serving_code'")


@pytest.mark.usefixtures("old_versions")
def test_old_code_is_named_until_it_is_registered_again(sql: Sql) -> None:
    again = "run `tintlab register --model models:/tintlab/1`, then `tintlab promote`"
    promotion.promote(1, "a test", forced=True)
    for shown in (listing.list_models(), listing.list_history()):
        assert "version 1, the champion, opens any file that a client of its server names" in shown
        assert again in shown
    assert "in version 2, 3: before you serve one, `tintlab register --model models:/tintlab/3`" in (
        listing.list_models()
    )
    findings = [finding for finding in doctor._serving_code() if finding.advice]
    assert len(findings) == 2
    assert again in findings[0].advice
    done = register.register("models:/tintlab/1")
    assert (done.version, done.new) == (4, True)
    assert "run `tintlab promote 4`" in listing.list_history()
    # The same weights and the same config need no verdict to take over.
    assert promotion.promote().startswith("version 4 is champion now instead of 1")
    assert "the same model as version 1, registered again" in listing.list_history()
    assert "opens any file" not in listing.list_history()
    assert "in version 2, 3: before" in listing.list_models()
    assert not register.register("models:/tintlab/1").new


@pytest.mark.usefixtures("old_versions")
def test_registered_again_it_keeps_files_run_and_facts(
    state: Path, sql: Sql, weights_of: Callable[[int], Path]
) -> None:
    sql("insert into model_version_tags values ('test.model.psnr', '19.5', 'tintlab', 1, 'default')")
    code = weights_of(1).parents[2] / "code" / "tintlab" / "inference" / "pyfunc.py"
    code.write_text("# as it was")
    done = register.register("models:/tintlab/1")
    with store.connect() as client:
        old, new = registry.get_version(client, 1), registry.get_version(client, done.version)
    assert (old.run_id, registry.registered_hashes(old)) == (new.run_id, registry.registered_hashes(new))
    assert new.tags["test.model.psnr"] == "19.5"
    assert old.source != new.source
    assert code.read_text() == "# as it was"
    assert (
        "not isinstance(image, bytes)"
        in (weights_of(4).parents[2] / "code" / "tintlab" / "inference" / "pyfunc.py").read_text()
    )


# -- as MLflow loads it

LOADED = """
import sys, mlflow, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
png = model.predict(pd.DataFrame({"image": [open(sys.argv[2], "rb").read()]}), params={"size": 64})["image"][0]
open("coloured.png", "wb").write(png)
ours = {name: module.__file__ for name, module in sys.modules.items() if name.startswith("tintlab")}
assert ours and all("/code/tintlab/" in file for file in ours.values()), ours
"""


def test_it_loads_elsewhere_with_its_own_code_and_without_pickle(
    state: Path,
    models: list[Path],
    tmp_path: Path,
    encoded: Callable[..., bytes],
    picture: Callable[..., Any],
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "photo.jpg").write_bytes(encoded(picture(60, 40), "JPEG"))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_TRACKING_URI": f"sqlite:///{state}/mlflow.db",
    }
    command = [sys.executable, "-W", "error::UserWarning:tintlab", "-c", LOADED, "models:/tintlab/2"]
    ended = subprocess.run(
        [*command, tmp_path / "photo.jpg"],
        cwd=tmp_path / "empty", env=environment, capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    from tintlab.imaging.photos import read_photo

    coloured = read_photo(tmp_path / "empty" / "coloured.png", 1).pixels
    photo = read_photo(tmp_path / "photo.jpg", 1)
    assert np.array_equal(coloured, Colorizer.load(models[1]).colorize(photo, 64))


def test_beside_the_package_spawned_processes_find_all_of_it(
    weights_of: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setattr(sys, "path", before := list(sys.path))
    mlflow.pyfunc.load_model(str(weights_of(1).parents[2]))
    assert sys.path == before
    with processes.worker_pool(1, spawned=True) as pool:
        # The registered code has no such module.
        assert pool.submit(methods.suffix, "grey").result(60) == "_grey"


def test_mlflow_refuses_to_load_changed_files(weights_of: Callable[[int], Path], state: Path) -> None:
    import mlflow

    shutil.copyfile(weights_of(1), weights_of(2))
    with pytest.raises(TintlabError, match=r"generator.safetensors is not the file that was registered"):
        mlflow.pyfunc.load_model(str(weights_of(2).parents[2]))
    config = weights_of(3).with_name("config.json")
    config.write_text(config.read_text() + " ")
    with pytest.raises(TintlabError, match=r"config.json is not the file that was registered"):
        mlflow.pyfunc.load_model(str(weights_of(3).parents[2]))


def test_a_registered_model_has_a_signature_and_an_example(
    weights_of: Callable[[int], Path],
) -> None:
    from mlflow.models import Model

    folder = weights_of(1).parents[2]
    model = Model.load(str(folder))
    assert model.signature is not None
    assert model.signature.inputs.to_dict() == model.signature.outputs.to_dict()
    assert [(column["name"], column["type"]) for column in model.signature.inputs.to_dict()] == [
        ("image", "binary")
    ]
    assert {param.name: param.default for param in model.signature.params} == {
        "size": 48,
        "saturation": 1.0,
        "seed": 0,
        "variants": 0,
    }
    example = model.load_input_example(str(folder))
    assert example["image"][0].startswith(b"\x89PNG")
    assert not list(folder.rglob("*.pkl"))
    assert "torch==" in (folder / "requirements.txt").read_text()
