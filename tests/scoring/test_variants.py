"""`tintlab score --variants`: several colourings a photograph, by noise that its own bytes and a seed decide."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from mlflow.exceptions import MlflowException
from PIL import Image
from scipy import stats

from tests.scoring.conftest import make_model
from tests.scoring.test_archive import files, run, sha256, times
from tintlab.gan.model_files import build_generator, save_generator
from tintlab.imaging.photos import read_photo
from tintlab.imaging.provenance import read_provenance
from tintlab.inference import noise_vectors
from tintlab.inference.colorizer import Colorizer
from tintlab.inference.engines import choose
from tintlab.inference.mlflow_model import save_pyfunc
from tintlab.scoring import manifest
from tintlab.scoring.trace import trace
from tintlab.system.errors import TintlabError

Z_DIM = 3


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("noisy model")
    config = {
        "generator": "pretrained_unet",
        "size": 32,
        "channels": 2,
        "dropout": 0.0,
        "context_dropout": 0.0,
        "z_dim": Z_DIM,
        "working_size": 64,
        "fingerprint": "0123456789abcdef",
    }
    torch.manual_seed(0)
    generator = build_generator(config, pretrained=False)
    torch.nn.init.normal_(generator.output.weight, 0, 0.5)  # type: ignore[union-attr]
    save_generator(folder, generator, config)
    return folder


@pytest.fixture
def scans(tmp_path: Path, picture: Callable[..., np.ndarray]) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for seed, name in enumerate(("a.jpg", "b.png", "b-v1.png")):
        Image.fromarray(picture(70, 50, seed=seed)).save(folder / name)
    return folder


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_each_photograph_becomes_n_files_that_differ(scans: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("score", scans, out, "--model", model, "--variants", 3, "--seed", 7)
    assert result.exit_code == 0, result.output
    names = {f"{stem}-v{number}.png" for stem in ("a", "b", "b-v1") for number in (1, 2, 3)}
    assert files(out) == names
    assert len({pixels(out / f"a-v{number}.png").tobytes() for number in (1, 2, 3)}) == 3
    photo = read_photo(scans / "a.jpg", 1)
    z = noise_vectors.draw(7, sha256(scans / "a.jpg"), 3, Z_DIM)
    for number in (1, 2, 3):
        file = out / f"a-v{number}.png"
        assert (pixels(file) == Colorizer.load(model, choose()).colorize(photo, z=z[number - 1])).all()
        origin = read_provenance(file.read_bytes())
        assert origin is not None
        assert (origin.seed, origin.variant) == ("7", str(number))
        assert trace(file).manifest["source"] == "a.jpg"
        assert trace(file).manifest["bytes"] == "as they were written"
    row = pq.read_table(out / manifest.MANIFEST).to_pandas().set_index("input").loc["a.jpg"]
    assert row["output"] == "a-v1.png"
    assert row["more_sha256"].split() == [sha256(out / "a-v2.png"), sha256(out / "a-v3.png")]


def test_other_photographs_and_other_counts_change_nothing(scans: Path, model: Path, tmp_path: Path) -> None:
    run("score", scans, tmp_path / "all", "--model", model, "--variants", 3)
    run("score", scans / "a.jpg", tmp_path / "one", "--model", model, "--variants", 2, "--workers", 1)
    for name in ("a-v1.png", "a-v2.png"):
        assert (tmp_path / "all" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    run("score", scans / "a.jpg", tmp_path / "other", "--model", model, "--variants", 1, "--seed", 1)
    assert (pixels(tmp_path / "other/a-v1.png") != pixels(tmp_path / "one/a-v1.png")).any()


def test_a_missing_variant_is_remade_and_a_new_seed_starts_over(
    scans: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run("score", scans, out, "--model", model, "--variants", 2)
    before = times(out)
    (out / "a-v2.png").unlink()
    run("score", scans, out, "--model", model, "--variants", 2)
    after = times(out)
    assert {name for name in after if after[name] != before[name]} == {"a-v1.png", "a-v2.png"}
    over = run("score", scans, out, "--model", model, "--variants", 2, "--seed", 4)
    assert "starting over, because seed was 0 and is 4" in over.output
    unchanged = run("score", scans, out, "--model", model, "--variants", 2, "--seed", 4, "--dry-run")
    assert "0 photographs would be coloured" in unchanged.output


def test_without_variants_the_seed_decides_nothing(scans: Path, model: Path, tmp_path: Path) -> None:
    run("score", scans, tmp_path / "out", "--model", model)
    run("score", scans, tmp_path / "seeded", "--model", model, "--seed", 5)
    assert files(tmp_path / "out") == {"a.png", "b.png", "b-v1.png"}
    for name in files(tmp_path / "out"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "seeded" / name).read_bytes()


def test_a_model_without_noise_is_refused_before_any_writing(scans: Path, tmp_path: Path) -> None:
    plain = make_model(tmp_path / "plain")
    result = run("score", scans, tmp_path / "out", "--model", plain, "--variants", 2)
    assert isinstance(result.exception, TintlabError)
    assert "takes no noise vector" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_the_registered_model_gives_the_same_variants(scans: Path, model: Path, tmp_path: Path) -> None:
    chosen = ("--model", model, "--engine", "torch", "--variants", 3, "--seed", 7)  # as the registered one
    run("score", scans / "a.jpg", tmp_path / "out", *chosen)
    save_pyfunc(model, tmp_path / "pyfunc")
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "pyfunc"))
    images = pd.DataFrame({"image": [(scans / name).read_bytes() for name in ("b.png", "a.jpg")]})
    answered = loaded.predict(images, params={"variants": 3, "seed": 7})["image"]
    assert len(answered) == 6
    for number in (1, 2, 3):
        assert (decoded(answered[2 + number]) == pixels(tmp_path / f"out/a-v{number}.png")).all()
    plain = Colorizer.load(model).colorize(read_photo(scans / "a.jpg", 1))
    assert (decoded(loaded.predict(images)["image"][1]) == plain).all()
    for params, reason in (
        ({"variants": 65}, "variants: from 0 to 64"),
        ({"variants": 1, "seed": -1}, "seed"),
    ):
        with pytest.raises(MlflowException, match=reason):
            loaded.predict(images, params=params)


def decoded(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_noise_is_normal_and_depends_on_seed_and_photograph() -> None:
    digest = hashlib.sha256(b"a photograph").hexdigest()
    z = noise_vectors.draw(0, digest, 1000, 16)
    assert z.shape == (1000, 16)
    assert z.dtype == np.float32
    assert (noise_vectors.draw(0, digest, 10, 16) == z[:10]).all()
    assert stats.kstest(z.ravel(), "norm").pvalue > 0.01
    assert (noise_vectors.draw(1, digest, 10, 16) != z[:10]).any()
    assert (noise_vectors.draw(0, hashlib.sha256(b"another").hexdigest(), 10, 16) != z[:10]).any()


def test_the_first_numbers_stay_the_same_for_ever() -> None:
    # Philox is specified by Salmon et al. 2011; the normal quantile is a function.
    found = noise_vectors.draw(7, "ff" * 32, 1, 4)[0]
    assert found == pytest.approx(EXPECTED, abs=1e-6)


EXPECTED = [-0.7189119, 0.2498000, -0.9863548, -0.8405875]
