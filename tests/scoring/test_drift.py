"""Drift: the index by hand, its chance by simulation, and the repository's own photographs made unlike."""

import hashlib
import itertools
import json
import math
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from typer.testing import CliRunner

from tintlab.cli import app
from tintlab.imaging import color
from tintlab.imaging.photos import read_photo
from tintlab.imaging.statistics import HISTOGRAM, SCALARS, Bins, Reference, summarize
from tintlab.scoring import drift, drift_report, manifest
from tintlab.scoring.drift import DriftReport, compare, population_stability_index
from tintlab.stages.split import split_of
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import write_json
from tintlab.system.params import load_params

Pixels = NDArray[np.uint8]
Change = Callable[[Pixels], Pixels]


# --- the figures of a photo


def test_a_ramp_fills_the_histogram_evenly() -> None:
    ramp = np.tile(np.linspace(0, 99.99, 1000, dtype=np.float32), (1000, 1))
    figures = summarize(ramp)
    assert [figures[name] for name in HISTOGRAM] == pytest.approx([0.1] * 10, abs=0.006)
    assert figures["l_mean"] == pytest.approx(50, abs=0.1)
    assert figures["l_spread"] == pytest.approx(100 / math.sqrt(12), abs=0.1)
    assert figures["near_black"] == pytest.approx(0.05, abs=0.006)
    assert figures["near_white"] == pytest.approx(0.05, abs=0.006)
    assert figures["megapixels"] == 1.0


def test_white_belongs_to_the_last_bin_and_black_to_the_first() -> None:
    figures = summarize(np.concatenate([np.zeros((224, 56)), np.full((224, 168), 100)], axis=1))
    assert (figures["l00"], figures["l09"]) == (pytest.approx(0.25), pytest.approx(0.75))
    assert (figures["near_black"], figures["near_white"]) == (pytest.approx(0.25), pytest.approx(0.75))


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    """A checkerboard of ±10 has the Laplacian ±80 everywhere but at its border."""
    board = 50 + 10 * (-1.0) ** np.add.outer(np.arange(224), np.arange(224))
    assert summarize(board.astype(np.float32))["sharpness"] == pytest.approx(80**2, rel=0.02)
    assert summarize(np.full((60, 300), 40, np.float32))["sharpness"] == 0


def test_a_scan_of_twice_the_resolution_is_like_itself(picture: Callable[..., Pixels]) -> None:
    large = color.lightness(np.asarray(Image.fromarray(picture(300, 260)).resize((1200, 1040))))
    small = color.lightness(np.asarray(Image.fromarray(picture(300, 260)).resize((600, 520))))
    for name in ("l_mean", "l_spread", "near_black", "near_white", *HISTOGRAM):
        assert summarize(large)[name] == pytest.approx(summarize(small)[name], rel=0.02, abs=0.005)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (7, 3)])
def test_odd_shapes_have_figures(shape: tuple[int, int]) -> None:
    figures = summarize(np.full(shape, 30, np.float32))
    assert figures["l03"] == 1
    assert all(map(math.isfinite, figures.values()))


# --- the summary of a set


def test_bins_are_cut_at_the_deciles() -> None:
    bins = Bins.of(np.arange(1.0, 101.0))
    assert bins.edges == (10, 20, 30, 40, 50, 60, 70, 80, 90)
    assert bins.counts == (10,) * 10


def test_equal_values_share_a_bin_and_no_bin_is_empty() -> None:
    values = np.array([0.0] * 60 + [0.2] * 15 + [1.0] * 25)
    bins = Bins.of(values)
    assert (bins.edges, bins.counts) == ((0.0, 0.2), (60, 15, 25))
    assert Bins.of(np.full(20, 3.0)) == Bins(edges=(), counts=(20,))


def test_a_summary_survives_its_file(tmp_path: Path) -> None:
    reference = Reference.of(drawn(np.random.default_rng(0), 50))
    write_json(tmp_path / "summary.json", reference.model_dump())
    assert Reference.read(tmp_path / "summary.json") == reference


@pytest.mark.parametrize("damage", ["bins", "histogram", "photos"])
def test_a_damaged_summary_is_one_line(tmp_path: Path, damage: str) -> None:
    content = Reference.of(drawn(np.random.default_rng(0), 50)).model_dump()
    content[damage] = {} if damage == "bins" else [0.1] if damage == "histogram" else "many"
    write_json(tmp_path / "summary.json", content)
    with pytest.raises(TintlabError, match="restore it or train again"):
        Reference.read(tmp_path / "summary.json")


def test_an_empty_set_has_a_summary_that_tells_nothing() -> None:
    report = compare(drawn(np.random.default_rng(0), 50), Reference.of([]))
    assert report.verdict == "too few"


# --- the index


def test_the_index_by_hand() -> None:
    """Large counts, so that the half photo hardly counts: shares 0.5, 0.3, 0.2 against 0.4, 0.4, 0.2."""
    by_hand = 0.1 * math.log(0.5 / 0.4) + (-0.1) * math.log(0.3 / 0.4) + 0
    assert by_hand == pytest.approx(0.05108, abs=1e-5)
    index = population_stability_index([5_000_000, 3_000_000, 2_000_000], [400_000, 400_000, 200_000])
    assert index == pytest.approx(by_hand, abs=1e-5)


def test_the_index_by_hand_with_an_empty_bin() -> None:
    """9 and 0 against 4 and 4: shares 0.95, 0.05 against 0.5, 0.5."""
    by_hand = 0.45 * math.log(0.95 / 0.5) - 0.45 * math.log(0.05 / 0.5)
    assert population_stability_index([9, 0], [4, 4]) == pytest.approx(by_hand)


def test_the_index_is_symmetric_and_zero_for_the_same() -> None:
    assert population_stability_index([3, 8, 1], [9, 2, 5]) == population_stability_index(
        [9, 2, 5], [3, 8, 1]
    )
    assert population_stability_index([3, 8, 1], [3, 8, 1]) == 0


def test_the_farther_the_more() -> None:
    """The mean of one figure moves by steps: its index grows, and its p-value falls."""
    seen = drawn(np.random.default_rng(5), 1000)
    reference = Reference.of(seen)
    found = [
        figure(compare(seen.assign(l_mean=seen["l_mean"] + 3.0 * step), reference), "l_mean")
        for step in range(8)
    ]
    assert all(later.psi > earlier.psi for earlier, later in itertools.pairwise(found))
    assert all(later.p_value <= earlier.p_value for earlier, later in itertools.pairwise(found))
    assert [one.drifted for one in found] == sorted(one.drifted for one in found)
    assert (found[0].drifted, found[-1].drifted) == (False, True)


def test_chance_alone_is_as_often_beyond_a_p_value_as_it_says() -> None:
    """Without drift p-values are uniform (or larger), and PSI is on average about what is expected."""
    random = np.random.default_rng(1)
    p_values, ratios = [], []
    for _ in range(250):
        report = compare(drawn(random, 60), Reference.of(drawn(random, 219)))
        p_values += [[one.p_value for one in report.figures]]
        ratios += [[one.psi / one.expected for one in report.figures]]
    means = np.mean(ratios, axis=0)
    # The half photos in each bin take a little off.
    assert ((means > 0.8) & (means < 1.05)).all(), means
    for level, most in ((0.5, 0.6), (0.1, 0.15), (0.02, 0.05)):
        shares = (np.array(p_values) < level).mean(axis=0)
        assert (shares < most).all(), shares
        assert (shares > level / 3).all() or level < 0.1, shares


def test_false_alarms_are_rare_for_small_sets_and_large() -> None:
    random = np.random.default_rng(2)
    for seen, trained in ((30, 100), (47, 219), (1000, 2000)):
        alarms = [
            compare(drawn(random, seen), Reference.of(drawn(random, trained))).verdict == "drift"
            for _ in range(120)
        ]
        assert sum(alarms) <= 4, (seen, trained)  # 1.2 where the significance is just used up


def test_a_plain_threshold_would_cry_wolf() -> None:
    """What the correction is for: 30 photos without drift have indices beyond 0.25."""
    random = np.random.default_rng(3)
    reports = [compare(drawn(random, 30), Reference.of(drawn(random, 219))) for _ in range(20)]
    assert sum(any(one.psi > 0.25 for one in report.figures) for report in reports) > 15
    assert [report.verdict for report in reports] == ["none"] * 20


def test_a_significant_shift_below_the_threshold_is_no_drift() -> None:
    random = np.random.default_rng(4)
    reference = Reference.of(drawn(random, 20_000))
    seen = drawn(random, 20_000)
    seen["l_mean"] += 2
    one = figure(compare(seen, reference), "l_mean")
    assert one.p_value < 1e-9
    assert not one.drifted
    assert figure(compare(seen, reference, threshold=one.excess * 0.99), "l_mean").drifted
    assert not figure(compare(seen, reference, threshold=one.excess * 1.01), "l_mean").drifted


def test_few_photographs_tell_nothing() -> None:
    random = np.random.default_rng(6)
    reference = Reference.of(drawn(random, 100))
    seen = drawn(random, 30).assign(l_mean=0.0)
    assert compare(seen, reference).verdict == "drift"
    report = compare(seen[:29], reference)
    assert (report.verdict, report.figures, report.overall) == ("too few", (), 0)
    assert "29 photographs" in report.line()
    assert compare(seen[:29], reference, min_photos=29).verdict == "drift"


def test_photos_without_figures_are_left_out() -> None:
    random = np.random.default_rng(7)
    reference = Reference.of(drawn(random, 100))
    seen = drawn(random, 60)
    refused = pd.DataFrame({"outcome": ["broken"] * 9})
    assert compare(pd.concat([seen, refused]), reference) == compare(seen, reference)


# --- the repository's own photographs


@pytest.fixture(scope="module")
def starter(repository: Path) -> dict[str, list[Pixels]]:
    """Photographs of the starter set: those that judge, as the committed table lists them, and that train."""
    with zipfile.ZipFile(repository / "data" / "starter-photos.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith((".webp", ".jpg", ".png"))]
        files = [archive.read(name) for name in names]
    params = load_params(repository / "params.yaml").split
    judging = set(pd.read_csv(repository / paths.REFERENCE)["photo"].str.extract(r"-(\w{8})\.\w+$")[0])
    photos: dict[str, list[Pixels]] = {"train": [], "test": []}
    for data in files:
        digest = hashlib.sha256(data).hexdigest()
        split = split_of(digest, params)
        if split == "train" or digest[:8] in judging:
            photos[split].append(read_photo(data, 100).rgb())
    return photos


@pytest.fixture(scope="module")
def reference(starter: dict[str, list[Pixels]]) -> Reference:
    return Reference.of(summarize(color.lightness(pixels)) for pixels in starter["train"])


def judged(photos: list[Pixels], reference: Reference, change: Change = lambda grey: grey) -> DriftReport:
    """The report on grey scans of photographs."""
    scans = [change(grey_scan(pixels)) for pixels in photos]
    return compare(pd.DataFrame([summarize(color.lightness(scan)) for scan in scans]), reference)


def test_the_test_split_has_no_drift(starter: dict[str, list[Pixels]], reference: Reference) -> None:
    assert len(starter["test"]) == 47
    report = judged(starter["test"], reference)
    assert (report.verdict, report.drifted) == ("none", ())


@pytest.mark.parametrize("gamma", [1.7, 2.5])
def test_darkened_scans_have(starter: dict[str, list[Pixels]], reference: Reference, gamma: float) -> None:
    table = np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)
    report = judged(starter["test"], reference, lambda grey: table[grey])
    assert report.verdict == "drift"
    assert {"l_mean", "near_black"} <= names(report)
    assert "sharpness" not in names(report)


def test_underexposed_scans_have(starter: dict[str, list[Pixels]], reference: Reference) -> None:
    report = judged(starter["test"], reference, lambda grey: (grey * 0.5).astype(np.uint8))
    assert {"luminance", "l_mean", "l_spread"} <= names(report)


def test_blurred_scans_have(starter: dict[str, list[Pixels]], reference: Reference) -> None:
    def blur(grey: Pixels) -> Pixels:
        return np.asarray(Image.fromarray(grey).filter(ImageFilter.GaussianBlur(1)))

    assert names(judged(starter["test"], reference, blur)) == {"sharpness"}


def test_another_collection_has(
    starter: dict[str, list[Pixels]], reference: Reference, picture: Callable[..., Pixels]
) -> None:
    collection = [picture(400, 300, seed=seed) for seed in range(40)]
    assert judged(collection, reference).verdict == "drift"


def test_large_scans_of_the_same_photos_are_no_drift(
    starter: dict[str, list[Pixels]], reference: Reference
) -> None:
    """Scans are larger than the training photographs in every archive; their content is what counts."""

    def enlarge(grey: Pixels) -> Pixels:
        return np.asarray(Image.fromarray(grey).resize((4 * grey.shape[1], 4 * grey.shape[0])))

    report = judged(starter["test"], reference, enlarge)
    assert (report.verdict, report.drifted) == ("none", ())
    assert {one.name for one in report.figures} == set(drift.MEANINGS)


# --- in MLflow


def test_a_report_becomes_one_run_beside_its_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    random = np.random.default_rng(8)
    seen = drawn(random, 50).assign(near_black=1.0)
    report = compare(seen, Reference.of(drawn(random, 100)))
    written = tmp_path / "manifest.parquet"
    seen.to_parquet(written)
    said = drift_report.log_report(report, written, {"model": "models:/tintlab/3"})
    assert "recorded in MLflow" in said
    assert drift_report.log_report(report, written, {"model": "models:/tintlab/3"}) == said
    client = MlflowClient(f"sqlite:///{tmp_path / 'state' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("scoring")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics["psi.near_black"] == pytest.approx(figure(report, "near_black").psi)
    assert run.data.tags["model"] == "models:/tintlab/3"
    assert run.data.tags["drift"] == "drift"
    assert run.info.status == "FINISHED"
    stored = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert stored == {"manifest.parquet", "drift.json"}
    content = json.loads((tmp_path / "drift.json").read_text())
    assert content["figures"]["near_black"]["drifted"]


def test_mlflow_out_of_reach_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    random = np.random.default_rng(9)
    report = compare(drawn(random, 50), Reference.of(drawn(random, 100)))
    (tmp_path / "manifest.parquet").write_bytes(b"not looked into")
    said = drift_report.log_report(report, tmp_path / "manifest.parquet", {})
    assert "can't be reached" in said
    assert "\n" not in said
    assert (tmp_path / "drift.json").exists()


# --- a manifest that was written before


def scored(folder: Path, seen: pd.DataFrame, version: int | None = None) -> Path:
    """What `tintlab score` leaves in a folder: a manifest, with a broken file in it."""
    with manifest.open_part(folder, "all") as writer:
        for number, figures in enumerate(seen.to_dict("records")):
            named = {str(name): float(value) for name, value in figures.items()}
            writer.add(manifest.Record(f"{number:03}.tif", "coloured", model_version=version, figures=named))
        writer.add(manifest.Record("broken.tif", "quarantined", "cut short"))
    manifest.merge_parts(folder)
    return folder


def trained_on(folder: Path, photos: pd.DataFrame) -> Path:
    """A model's folder as far as drift looks into it."""
    folder.mkdir()
    (folder / paths.WEIGHTS).write_bytes(b"weights")
    write_json(folder / paths.MODEL_CONFIG, {})
    write_json(folder / paths.TRAINING_SUMMARY, Reference.of(photos).model_dump())
    return folder


def test_a_manifest_tells_its_drift_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(10)
    model = str(trained_on(tmp_path / "model", drawn(random, 100)))
    alike = scored(tmp_path / "alike", drawn(random, 60))
    dark = scored(tmp_path / "dark", drawn(random, 60).assign(near_black=0.5))
    for place, status, words in ((alike, 0, "drift: none; 60"), (dark / "manifest.parquet", 2, "near_black")):
        told = CliRunner().invoke(app, ["drift", str(place), "--model", model])
        assert (told.exit_code, words in told.output) == (status, True), told.output
        assert "can't be reached" in told.output


@pytest.mark.parametrize(
    ("place", "model", "words"),
    [
        ("nothing", "model", "there is no nothing"),
        ("model/config.json", "model", "is no manifest of `tintlab score`"),
        (
            "alike",
            None,
            "model is not known any more, or they are several: say which with --model",
        ),
        ("alike", "bare", "does not say what it was trained on"),
    ],
)
def test_faults_are_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, model: str | None, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(11)
    trained_on(Path("model"), drawn(random, 100))
    (trained_on(Path("bare"), drawn(random, 100)) / paths.TRAINING_SUMMARY).unlink()
    scored(Path("alike"), drawn(random, 40))
    with pytest.raises(TintlabError, match=re.escape(words)):
        drift_report.report_again(Path(place), model, None)


def test_a_manifest_names_its_model(tmp_path: Path) -> None:
    random = np.random.default_rng(12)
    path, rows = drift_report.read_manifest(scored(tmp_path, drawn(random, 5), version=7))
    assert drift_report.find_scorer(path, rows) == "models:/tintlab/7"
    tags = {"photos.coloured": "5", "photos.quarantined": "1", "model_version": "7"}
    assert drift_report.manifest_tags(rows) == tags


# --- helpers


def drawn(random: np.random.Generator, count: int) -> pd.DataFrame:
    """Figures of photos from one population: skewed, tied and correlated as real ones are."""
    shares = random.dirichlet(np.linspace(0.4, 2, len(HISTOGRAM)), count)
    figures = pd.DataFrame(shares, columns=list(HISTOGRAM)).assign(
        l_mean=shares @ np.arange(5, 100, 10),
        l_spread=random.gamma(20, size=count),
        sharpness=np.exp(random.normal(5, 1, count)),
        near_black=np.maximum(0, random.normal(0.01, 0.02, count)),
        near_white=shares[:, -1] ** 2,
        megapixels=random.choice([0.07, 0.08, 0.13, 0.15], count, p=[0.2, 0.3, 0.4, 0.1]),
    )
    assert set(figures) == {*HISTOGRAM, *SCALARS}
    return figures


def figure(report: DriftReport, name: str) -> drift.FigureDrift:
    return next(one for one in report.figures if one.name == name)


def names(report: DriftReport) -> set[str]:
    return {one.name for one in report.drifted}


def grey_scan(pixels: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(pixels).convert("L"))
