"""No code runs from data, nothing listens but for this machine, and pages show names as text."""

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch import nn

from tests.hostile.examine import examine_files, tiny_model
from tests.reports.test_evaluation import FINDINGS, Page
from tintlab.gan.model_files import load_generator
from tintlab.reports import pages
from tintlab.reports.validation import validation_page
from tintlab.stages.fetch import attributions, gather
from tintlab.stages.fetch_ledger import Ledger
from tintlab.system import console
from tintlab.system.errors import TintlabError
from tintlab.system.files import read_json
from tintlab.system.params import load_params

ROOT = Path(__file__).parents[2]
SCRIPT = "<script>alert(1)</script>"


# --- no pickles


def test_guard_the_suite_runs_where_mlflow_refuses_pickles() -> None:
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"


@pytest.mark.parametrize(
    "code",
    [
        "import pickle\n", "from pickle import loads\n", "import joblib\n", "import marshal\n", "import shelve\n",
        "import torch\n\ntorch.load('x')\n", "import pandas\n\npandas.read_pickle('x')\n", "import cloudpickle\n",
        "import mlflow\n\nmlflow.pytorch.load_model('x')\n",
    ],
)  # fmt: skip
def test_guard_the_linter_refuses_pickles(code: str, tmp_path: Path) -> None:
    (tmp_path / "new.py").write_text(f'"""New."""\n\n{code}')
    settings = ["--config", str(ROOT / "pyproject.toml"), "--no-cache", "--output-format", "concise"]
    ended = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *settings, "new.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "TID251" in ended.stdout, ended.stdout + ended.stderr


def sources() -> Iterator[Path]:
    yield from (ROOT / "src").rglob("*.py")
    yield from (ROOT / "flows").rglob("*.py")


def test_guard_torch_loads_weights_only_and_numpy_no_objects() -> None:
    calls = 0
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            named = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert named.get("allow_pickle", "False") == "False", path
            if ast.unparse(node.func) == "torch.load":
                calls += 1
                assert named["weights_only"] == "True", path
            assert ast.unparse(node.func) not in ("eval", "exec", "compile", "os.system"), path
            assert named.get("shell", "False") == "False", path
    assert calls == 2  # checkpoints, and the encoder's package


# --- models of strangers


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    return tiny_model(tmp_path / "model")


def change(model: Path, **values: Any) -> None:
    config = read_json(model / "config.json")
    (model / "config.json").write_text(json.dumps(config | values))


def refusal(model: Path) -> str:
    with pytest.raises(TintlabError) as caught:
        load_generator(model)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


@pytest.mark.parametrize(
    "values",
    [
        {"channels": 10**9}, {"channels": 10**30}, {"channels": 4096}, {"channels": -4}, {"channels": "4"},
        {"channels": None}, {"size": 2**60}, {"size": 10**40}, {"size": 64}, {"size": [32]}, {"dropout": 10**400},
        {"generator": "pretrained_unet", "channels": 10**7}, {"generator": "os.system"}, {"generator": ["unet"]},
        {"generator": "tintlab.gan.unet.UNet"}, {"generator": "x" * 10_000}, {"generator": {"__class__": "UNet"}},
    ],
)  # fmt: skip
def test_guard_a_configs_numbers_and_names_cost_no_memory(model: Path, values: dict[str, Any]) -> None:
    change(model, **values)
    (finding,) = examine_files([model], load_generator)
    assert finding.outcome.startswith("refused: ")
    assert finding.megabytes < 100
    assert finding.seconds < 5
    refusal(model)


def test_what_a_config_says_besides_is_ignored(model: Path) -> None:
    change(
        model,
        weights="/etc/passwd",
        module="os",
        __class__="x",
        code="import os",
        generator_class="os.system",
    )
    generator, _ = load_generator(model)
    assert isinstance(generator, nn.Module)


@pytest.mark.parametrize("text", ["[" * 200_000, "[]", "1", '"unet"', "{", "null", '{"generator": NaN}'])
def test_configs_that_are_none(model: Path, text: str) -> None:
    (model / "config.json").write_text(text)
    refusal(model)


@pytest.mark.parametrize("name", ["config.json", "generator.safetensors"])
def test_guard_links_out_of_a_model_are_refused(model: Path, tmp_path: Path, name: str) -> None:
    shutil.move(model / name, tmp_path / "elsewhere")
    (model / name).symlink_to(tmp_path / "elsewhere")
    assert f"{model / name} is a link out of its folder" in refusal(model)


def test_models_that_dvc_linked_to_its_cache_are_loaded(model: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("config.json", "generator.safetensors")):
        cached = tmp_path / "cache/files/md5" / f"{number:02x}" / ("0" * 30)
        cached.parent.mkdir(parents=True)
        shutil.move(model / name, cached)
        (model / name).symlink_to(cached)
    load_generator(model)


@pytest.mark.parametrize("target", ["/dev/zero", "generator.safetensors"])
def test_links_to_devices_and_to_themselves(model: Path, target: str) -> None:
    (model / "generator.safetensors").unlink()
    (model / "generator.safetensors").symlink_to(target)
    assert "is missing" in refusal(model)


def test_weights_that_are_a_pickle_are_no_weights(model: Path, tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, model / "generator.safetensors")
    assert "is damaged" in refusal(model)


# --- parameters of strangers


def params_with(tmp_path: Path, before: str, after: str) -> Path:
    text = (ROOT / "params.yaml").read_text()
    assert before in text
    (tmp_path / "params.yaml").write_text(text.replace(before, after))
    return tmp_path / "params.yaml"


@pytest.mark.parametrize(
    "value",
    [
        '!!python/object/apply:os.system ["touch trace"]', "!!python/name:os.system", "os.system", "{a: 1}",
        "../../models/x", "!!binary aGk=",
    ],
)  # fmt: skip
def test_guard_params_can_t_name_a_class(tmp_path: Path, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TintlabError) as caught:
        load_params(params_with(tmp_path, "generator: pretrained_unet", f"generator: {value}"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "trace").exists()


def test_guard_lists_that_refer_to_each_other_stay_short(tmp_path: Path) -> None:
    laughs = "&a [ha, ha, ha, ha, ha, ha, ha, ha, ha]"
    for name, before in zip("bcdefgh", "abcdefg", strict=True):
        laughs += f", &{name} [{', '.join([f'*{before}'] * 9)}]"
    path = params_with(tmp_path, "salt: tintlab\n  max_files", f"salt: [{laughs}]\n  max_files")
    started = time.process_time()
    with pytest.raises(TintlabError, match=r"fetch\.salt") as caught:
        load_params(path)
    assert len(str(caught.value)) < 300
    assert time.process_time() - started < 5


SECRETS = [
    "https://ann:very-secret@example.org/a.zip",
    "https://very-secret@example.org/a.zip",
    "https://example.org/a.zip?X-Amz-Signature=very-secret",
    "https://example.org/a.zip?sig=very-secret",
    "https://example.org/a.zip?access_token=very-secret",
    "https://example.org/a.zip?file=very-secret" + "0" * 60,
    "https://example.org/a.zip?very-secret",
    "s3://very-secret:key@bucket/a.zip",
    "s3://bucket/a.zip?versionId=very-secret",
]


@pytest.mark.parametrize("url", SECRETS)
@pytest.mark.parametrize("form", ["{path: 'URL'}", "'URL'", "{path: 'URL', sha256: 'URL'}", "{'URL': 1}"])
def test_guard_urls_with_secrets_are_refused_and_not_shown(tmp_path: Path, url: str, form: str) -> None:
    path = params_with(tmp_path, "sources: []", f"sources: [{form.replace('URL', url)}]")
    with pytest.raises(TintlabError) as caught:
        load_params(path)
    assert "very-secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/a.zip", "http://localhost:8080/a.tar.gz", "https://example.org/a.zip?download=1",
        "https://example.org/get?id=10.5281/zenodo.1234&format=zip", "s3://bucket/deep/a.zip", "gs://bucket/a.zip",
    ],
)  # fmt: skip
def test_urls_without_secrets_are_welcome(tmp_path: Path, url: str) -> None:
    params = load_params(params_with(tmp_path, "sources: []", f"sources: [{{path: '{url}'}}]"))
    assert params.fetch.sources[0].path == url


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://host/a.zip",
        "https:///a.zip",
        "https://host",
        "s3://bucket",
        "https://host/a#b",
    ],
)
def test_guard_other_urls_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(TintlabError, match=r"fetch\.sources\.0: "):
        load_params(params_with(tmp_path, "sources: []", f"sources: [{{path: '{url}'}}]"))


# --- attribution tables and pages


def test_guard_attributions_are_printable_and_small(tmp_path: Path) -> None:
    table = f"file,category,author\na.jpg,{SCRIPT},\x1b[31mred\x00\u202e\n".encode()
    row = dict(attributions(table))["a.jpg"]
    assert all(text.isprintable() for text in row.values())
    assert row["category"] == SCRIPT  # text is text: pages escape it
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/ATTRIBUTION.csv").write_text(",".join(["file"] + ["x"] * 1_000))
    with pytest.raises(TintlabError, match="more than 64 columns"):
        list(gather(tmp_path / "photos", tmp_path, Ledger(tmp_path / "ledger")))


def test_pages_show_names_and_categories_as_text() -> None:
    import pandas as pd

    quarantine = pd.DataFrame(
        [{"photo": SCRIPT, "origin": console.printable(SCRIPT + "\n"), "split": SCRIPT, "reason": SCRIPT}]
    )
    html = validation_page(FINDINGS | {"faults": [SCRIPT]}, quarantine, {}, [])
    assert SCRIPT not in html
    assert SCRIPT in Page(html).text


def test_guard_templates_escape() -> None:
    assert pages._environment().autoescape is True
    for template in (ROOT / "src/tintlab/reports/templates").iterdir():
        assert "|safe" not in template.read_text().replace(" ", ""), template
        assert "autoescapefalse" not in template.read_text().replace(" ", ""), template
    for path in sources():
        text = path.read_text()
        assert "Markup(" not in text, path
        assert text.count("jinja2.Environment(") == text.count("autoescape=True"), path


# --- services


def test_guard_services_listen_for_this_machine_only() -> None:
    hosts = 0
    for path in sources():
        strings = [
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        assert "0.0.0.0" not in strings, path
        for number, text in enumerate(strings):
            if text == "--host":
                hosts += 1
                assert strings[number + 1] == "127.0.0.1", path
    assert hosts >= 1
    for name in ("Makefile", "prefect.yaml", "Procfile", ".ci/run"):
        if (ROOT / name).exists():
            assert "0.0.0.0" not in (ROOT / name).read_text(), name


@pytest.mark.slow
def test_the_ui_listens_for_this_machine_only(tmp_path: Path) -> None:
    started = subprocess.Popen(
        [sys.executable, "-m", "tintlab.cli", "ui", "--port", "0"],
        cwd=tmp_path,
        env=os.environ | {"TINTLAB_STATE": str(tmp_path), "MLFLOW_TRACKING_URI": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        addresses: set[str] = set()
        deadline = time.monotonic() + 200
        while not addresses and time.monotonic() < deadline:
            time.sleep(0.2)
            family = [psutil.Process(started.pid), *psutil.Process(started.pid).children(recursive=True)]
            addresses = {
                connection.laddr.ip
                for process in family
                if process.is_running()
                for connection in process.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            }
        assert addresses == {"127.0.0.1"}
    finally:
        started.terminate()
        started.wait(60)
