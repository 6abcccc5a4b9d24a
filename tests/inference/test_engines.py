"""Engines: OpenVINO computes what torch computes, keeps what it converted, and sends nothing to anyone."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tintlab.gan.model_files import build_generator, save_generator
from tintlab.inference import engines
from tintlab.inference.colorizer import Colorizer
from tintlab.inference.engines import EngineChoice, choose
from tintlab.inference.hints import Hint
from tintlab.inference.palettes import Palette
from tintlab.system import processor
from tintlab.system.errors import TintlabError

pytest.importorskip("openvino")

CONFIG = {"generator": "pretrained_unet", "size": 64, "channels": 8, "dropout": 0.1, "context_dropout": 0.3}
UNET = {"generator": "unet", "size": 32, "channels": 8, "dropout": 0.0}
SHAPES = [(64, 96), (33, 70), (96, 64), (32, 32), (200, 41)]


def saved_model(folder: Path, config: dict[str, object]) -> Path:
    torch.manual_seed(0)
    generator = build_generator(dict(config))
    for weights in generator.parameters():  # inputs that begin without effect shall have one
        if weights.ndim > 1 and not weights.any():
            torch.nn.init.normal_(weights, 0, 0.1)
    save_generator(folder, generator, dict(config))
    return folder


@pytest.fixture(scope="module", params=[True, False], ids=["two pictures", "one picture"])
def guided(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = CONFIG | {"z_dim": 4, "hints": True, "flip_average": request.param}
    return saved_model(tmp_path_factory.mktemp("guided"), config)


@pytest.fixture(scope="module")
def pair(guided: Path) -> tuple[Colorizer, Colorizer]:
    return Colorizer.load(guided), Colorizer.load(guided, EngineChoice("openvino"), 2)


def lightness(shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32) * 100


@pytest.mark.parametrize("shape", SHAPES)
def test_both_engines_agree_at_any_shape(pair, shape):
    torchs, openvinos = (each.predict_variants(lightness(shape), None) for each in pair)
    assert torchs.shape == openvinos.shape
    assert np.abs(torchs - openvinos).max() < 0.01 < np.abs(torchs).max()


def test_both_engines_agree_under_every_input(pair):
    palette = Palette.of(np.random.default_rng(1).integers(0, 255, (40, 40, 3)).astype(np.uint8))
    z = np.linspace(-2, 2, 4, dtype=np.float32)
    given = {"z": z, "hints": [Hint(0.3, 0.4, 50, -20, 0.2)], "palette": palette}
    plain = pair[0].open(lightness((64, 96))).working_ab()
    for names in (["z"], ["hints"], ["palette"], ["hints", "palette"], list(given)):
        torchs, openvinos = (
            each.open(lightness((64, 96))).working_ab(**{name: given[name] for name in names})
            for each in pair
        )
        assert np.abs(torchs - openvinos).max() < 0.01
        assert np.abs(torchs - plain).max() > 0.02, names


def test_pix2pix_runs_whole(tmp_path):
    folder = saved_model(tmp_path, UNET)
    torchs, openvinos = Colorizer.load(folder), Colorizer.load(folder, EngineChoice("openvino"))
    ab = torchs.predict_variants(lightness((50, 70)), None)
    assert np.abs(ab - openvinos.predict_variants(lightness((50, 70)), None)).max() < 0.01
    with pytest.raises(TintlabError, match="takes no noise"):
        openvinos.predict_variants(lightness((50, 70)), np.zeros((1, 4), np.float32))


def test_threads_and_processes_give_the_same_bytes(guided, tmp_path, monkeypatch):
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path / "state"))
    choice = EngineChoice("openvino", "bf16")
    first = Colorizer.load(guided, choice, 1).predict_variants(lightness((64, 96)), None)
    kept = sorted(path.name for path in (tmp_path / "state/engines").iterdir())
    # The second time, torch is not needed any more.
    script = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from tintlab.inference.colorizer import Colorizer\n"
        "from tintlab.inference.engines import EngineChoice\n"
        "model = Colorizer.load(Path(sys.argv[1]), EngineChoice('openvino', 'bf16'), 2)\n"
        "L = np.random.default_rng(0).random((64, 96), np.float32) * 100\n"
        "np.save(sys.argv[2], model.predict_variants(L, None))\n"
        "assert 'torch' not in sys.modules\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
    )
    subprocess.run([sys.executable, "-c", script, guided, tmp_path / "again.npy"], check=True)
    assert np.array_equal(first, np.load(tmp_path / "again.npy"))
    assert kept == sorted(path.name for path in (tmp_path / "state/engines").iterdir())


def test_damaged_graphs_are_made_again(guided, tmp_path, monkeypatch):
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path / "state"))
    choice = EngineChoice("openvino")
    before = Colorizer.load(guided, choice).predict_variants(lightness((32, 64)), None)
    (kept,) = (tmp_path / "state/engines").iterdir()
    (kept / "decode.xml").write_text("<net")
    after = Colorizer.load(guided, choice).predict_variants(lightness((32, 64)), None)
    assert np.array_equal(before, after)
    assert (kept / "decode.xml").stat().st_size > 100


def test_outside_a_project_nothing_is_kept(guided, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TINTLAB_STATE", raising=False)
    Colorizer.load(guided, EngineChoice("openvino"))
    assert list(tmp_path.iterdir()) == []


def test_auto_chooses_by_machine(monkeypatch):
    for fast, precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(processor, "multiplies_bf16", lambda fast=fast: fast)
        assert choose() == EngineChoice("openvino", precision)
        assert choose(generator="unet") == EngineChoice("openvino", "fp32")
        assert choose("torch") == EngineChoice("torch", "fp32")
        assert choose("openvino", "fp32") == EngineChoice("openvino", "fp32")


def test_without_openvino_torch_runs_and_a_line_says_so(monkeypatch):
    monkeypatch.setattr(engines, "is_installed", lambda name: False)
    chosen = choose()
    assert (chosen.name, chosen.precision) == ("torch", "fp32")
    assert "tintlab[fast]" in chosen.note
    assert not choose("torch").note
    with pytest.raises(TintlabError, match="not installed"):
        choose("openvino")


@pytest.mark.parametrize("wrong", [("onnx", "auto"), ("auto", "fp8")])
def test_unknown_names_are_refused(wrong):
    with pytest.raises(TintlabError, match=f"{wrong[0] if wrong[0] != 'auto' else wrong[1]}: choose "):
        choose(*wrong)


_TWO_AT_ONCE = """
import threading, time
import numpy as np
from tintlab.inference.openvino_engine import import_openvino

class Slow(np.lib.NumpyVersion):
    def __init__(self, version):
        time.sleep(0.3)  # another thread runs meanwhile
        super().__init__(version)

np.lib.NumpyVersion = Slow  # what pybind11 asks when it looks for numpy
openvino = import_openvino()
threads = [threading.Thread(target=openvino.Type.f32.to_dtype, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(10)
    assert not thread.is_alive(), "hangs"
"""


def test_threads_with_their_first_requests_at_once_do_not_hang() -> None:
    subprocess.run([sys.executable, "-c", _TWO_AT_ONCE], check=True, timeout=60)
