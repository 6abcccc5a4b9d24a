"""The figures of photographs under models whose colours are known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tintlab.evaluation import evaluate, metrics
from tintlab.evaluation.judge import Judge, view
from tintlab.evaluation.methods import METHODS, suffix
from tintlab.evaluation.summary import intervals
from tintlab.imaging import color
from tintlab.inference.colorizer import Colorizer, Settings
from tintlab.system.errors import TintlabError
from tintlab.system.params import EvaluateParams

PARAMS = EvaluateParams(working_size=64, threads=1)
FIGURES = (
    "psnr",
    "ssim",
    "delta_e00",
    "colourfulness",
    "colourfulness_difference",
    "colour_spill",
    "judge_similarity",
    "judge_same_class",
)
SIZES = [(96, 96), (130, 97), (101, 160)]


class Uniform(nn.Module):
    """A generator that paints everything in one colour."""

    multiple = 32

    def __init__(self, a: float, b: float) -> None:
        super().__init__()
        self.ab = torch.tensor([a, b]) / 110

    def forward(self, L: Tensor, z: Tensor | None = None) -> Tensor:
        return self.ab.view(1, 2, 1, 1).expand(len(L), 2, *L.shape[2:])


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory, picture) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    for number, (width, height) in enumerate(SIZES):
        Image.fromarray(picture(width, height, seed=number)).save(folder / f"photo{number}.png")
    return folder


@pytest.fixture(scope="module")
def photos() -> pd.DataFrame:
    """The last two are near-duplicates, and the order is not the alphabet's."""
    names = ["photo2.png", "photo0.png", "photo1.png"]
    return pd.DataFrame(
        {"photo": names, "cluster": ["b", "a", "b"], "category": ["sea", "land", "sea"], "split": "test"}
    )


@pytest.fixture(scope="module")
def trial(raw: Path) -> evaluate.Trial:
    return evaluate.Trial(raw, max_megapixels=1, median_ab=np.array([3, 9], np.float32))


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge()


@pytest.fixture(scope="module")
def uniform(photos: pd.DataFrame, trial: evaluate.Trial, judge: Judge) -> evaluate.Evaluation:
    """The evaluation, by two processes, of a model that paints everything in (20, -10)."""
    two = PARAMS.model_copy(update={"threads": 2})
    return evaluate.evaluate(photos, trial, Colorizer(Uniform(20, -10), 32), judge, two)


def test_a_model_that_paints_a_baseline_is_judged_like_it(
    photos: pd.DataFrame, trial: evaluate.Trial, judge: Judge
) -> None:
    for ab, baseline in (((0, 0), "_grey"), ((3, 9), "_median_ab")):
        per_photo = evaluate.evaluate(photos, trial, Colorizer(Uniform(*ab), 32), judge, PARAMS).per_photo
        assert per_photo["photo"].tolist() == ["photo0.png", "photo1.png", "photo2.png"]
        assert per_photo["cluster"].tolist() == ["a", "b", "b"]
        for name in FIGURES:
            np.testing.assert_allclose(per_photo[name], per_photo[name + baseline], atol=0.02)
        assert (per_photo["colourfulness_grey"] == 0).all()
        assert (per_photo["colourfulness_median_ab"] > 3).all()


def test_figures_are_those_of_the_photo_at_full_size(
    uniform: evaluate.Evaluation, trial: evaluate.Trial, judge: Judge
) -> None:
    for number, row in uniform.per_photo.iterrows():
        true = np.asarray(Image.open(trial.raw / row["photo"]))
        assert true.shape == (*SIZES[number][::-1], 3)
        lab = color.rgb_to_lab(true)
        lab[..., 1:] = [20, -10]
        rgb = color.to_bytes(color.lab_to_rgb_in_gamut(lab))
        error = np.square(rgb.astype(float) - true).mean()
        assert row["psnr"] == pytest.approx(10 * np.log10(255**2 / error), abs=1e-3)
        assert row["colourfulness"] == pytest.approx(color.colourfulness(rgb), abs=0.01)
        assert row["colourfulness_true"] == pytest.approx(color.colourfulness(true))
        gap = row["colourfulness"] - row["colourfulness_true"]
        assert row["colourfulness_difference"] == pytest.approx(gap)
        (ours, theirs), _ = judge.look(np.stack([view(rgb), view(true)]))
        cosine = ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)
        assert row["judge_similarity"] == pytest.approx(cosine, abs=1e-3)


def test_totals_are_means(uniform: evaluate.Evaluation) -> None:
    totals, per_photo = uniform.totals, uniform.per_photo
    assert totals["photos"] == 3
    assert totals["clusters"] == 2
    for method in METHODS:
        assert {*totals[method]} == {*FIGURES, "judge_kernel_distance"}  # too few for Fréchet's
        for name in FIGURES:
            mean = per_photo[name + suffix(method)].mean()
            assert totals[method][name] == pytest.approx(mean, rel=1e-5)


def test_the_order_of_photographs_changes_nothing(
    uniform: evaluate.Evaluation, photos: pd.DataFrame, trial: evaluate.Trial, judge: Judge
) -> None:
    shuffled = photos.sample(frac=1, random_state=1)
    again = evaluate.evaluate(shuffled, trial, Colorizer(Uniform(20, -10), 32), judge, PARAMS)
    assert again.totals == uniform.totals
    pd.testing.assert_frame_equal(again.per_photo, uniform.per_photo)


def test_a_model_is_judged_at_its_own_working_size_by_default(trial: evaluate.Trial) -> None:
    colorizer = Colorizer(Uniform(0, 0), 32, Settings(working_size=48))
    assert evaluate.predict("photo0.png", trial, colorizer, None).lightness.shape == (48, 48)
    assert evaluate.predict("photo0.png", trial, colorizer, 80).lightness.shape == (80, 80)


def test_the_judge_asks_for_the_class_of_the_true_photo() -> None:
    features = np.array([[3.0, 4.0], [4.0, 3.0], [3.0, 4.0], [-4.0, 3.0]])
    row = evaluate.judge_figures(features, np.array([7, 7, 8, 7]))
    assert row == {
        "judge_similarity": pytest.approx(24 / 25),
        "judge_same_class": 1.0,
        "judge_similarity_grey": pytest.approx(1),
        "judge_same_class_grey": 0.0,
        "judge_similarity_median_ab": pytest.approx(0),
        "judge_same_class_median_ab": 1.0,
    }


def made_up(count: int) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Photographs with random figures, nine of them cats, and kernel terms of random features."""
    random = np.random.default_rng(0)
    names = [f"photo{at:02d}" for at in range(count)]
    category = ["cat"] * 9 + ["dog"] * (count - 9)
    columns = {"photo": names, "cluster": names, "category": category}
    for method in METHODS:
        columns["psnr" + suffix(method)] = random.normal(20, 2, count)
    true = random.normal(0, 1, (count, 6))
    shifts = dict(zip(METHODS, (0.5, 1, 1.5), strict=True))
    terms = {method: metrics.kernel_terms(true + shift, true) for method, shift in shifts.items()}
    return pd.DataFrame(columns), terms


def test_intervals_of_all_and_of_large_categories() -> None:
    per_photo, terms = made_up(16)
    table = intervals(per_photo, terms)
    assert table.groupby("category")["photos"].first().to_dict() == {"": 16, "cat": 9}  # of 7 dogs, none
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()
    rows = table.set_index(["category", "figure", "method"]).sort_index()
    for category, group in (("", per_photo), ("cat", per_photo[:9])):
        gain = (group["psnr"] - group["psnr_grey"]).to_numpy()
        row = rows.loc[(category, "psnr", "model_against_grey")]
        assert row["value"] == pytest.approx(gain.mean())
        expected = metrics.bootstrap_interval(gain, group["cluster"].tolist())
        assert row[["low", "high"]].tolist() == pytest.approx(expected.tolist())
    distances = table[(table["category"] == "") & (table["figure"] == "judge_kernel_distance")]
    distances = distances.set_index("method")["value"]
    assert distances["model"] == pytest.approx(metrics.kernel_distance(terms["model"])[0])
    assert distances["model_against_grey"] == pytest.approx(distances["model"] / distances["grey"])
    cats = metrics.kernel_distance(terms["grey"][:9, :9])[0]
    assert rows.loc[("cat", "judge_kernel_distance", "grey"), "value"] == pytest.approx(cats)


def test_twins_count_once_and_one_cluster_has_no_interval() -> None:
    per_photo, terms = made_up(16)
    twins = pd.concat([per_photo] * 3, ignore_index=True)
    twin_terms = {method: np.tile(own, (3, 3)) for method, own in terms.items()}
    single, clustered = (
        table[(table["category"] == "") & (table["figure"] == "psnr")]
        for table in (intervals(per_photo, terms), intervals(twins, twin_terms))
    )
    np.testing.assert_allclose(clustered[["low", "high"]], single[["low", "high"]])
    none = intervals(per_photo.assign(cluster="one"), terms)
    assert none.empty
    assert list(none.columns) == list(single.columns)


def test_faults_are_one_line(photos: pd.DataFrame, trial: evaluate.Trial, judge: Judge) -> None:
    model = Colorizer(Uniform(0, 0), 32)
    with pytest.raises(TintlabError, match="no test photographs"):
        evaluate.evaluate(photos.iloc[:0], trial, model, judge, PARAMS)
    with pytest.raises(TintlabError, match=r"photo9\.png: can't be opened"):
        evaluate.evaluate(photos.assign(photo="photo9.png"), trial, model, judge, PARAMS)
    with pytest.raises(TintlabError, match="no training squares"):
        evaluate.median_ab(np.zeros((0, 8, 8, 3), np.uint8))


def test_median_ab_is_that_of_all_pixels() -> None:
    squares = np.random.default_rng(0).normal(140, 20, (7, 5, 5, 3)).astype(np.uint8)
    median = evaluate.median_ab(squares)
    assert median.dtype == np.float32
    for channel in (0, 1):
        assert median[channel] == np.sort(squares[..., channel + 1], axis=None)[(7 * 25 - 1) // 2] - 128.0


def test_pictures_of_the_first_photographs_are_kept(
    photos: pd.DataFrame, trial: evaluate.Trial, judge: Judge
) -> None:
    model = Colorizer(Uniform(20, -10), 32)
    kept = evaluate.evaluate(photos, trial, model, judge, PARAMS, keep_pictures=2).triptychs
    assert list(kept) == ["photo0.png", "photo1.png"]
    for photo, pictures in kept.items():
        again = evaluate.draw_triptych(photo, trial, model, PARAMS.working_size)
        for ours, theirs in zip(pictures, again, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(pictures[2], np.asarray(Image.open(trial.raw / photo)))
        assert len(np.unique(pictures[0].reshape(-1, 3) @ [1, -1, 0])) == 1  # grey: red equals green
