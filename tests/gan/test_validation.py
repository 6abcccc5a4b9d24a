import numpy as np
import pytest
import torch
from skimage.color import lab2rgb
from skimage.metrics import peak_signal_noise_ratio

from tintlab.gan.data import Squares, scaled
from tintlab.gan.perceptual import PerceptualLoss
from tintlab.gan.validation import Validation, sample_picks


@pytest.fixture
def squares() -> Squares:
    random = np.random.default_rng(0)
    packed = np.empty((3, 32, 32, 3), np.uint8)
    packed[..., 0] = random.integers(80, 180, (3, 32, 32))
    packed[..., 1:] = random.integers(108, 149, (3, 32, 32, 2))
    return packed


@pytest.fixture(scope="module")
def perceptual() -> PerceptualLoss:
    return PerceptualLoss()


@pytest.fixture
def validation(squares: Squares, perceptual: PerceptualLoss) -> Validation:
    return Validation(squares, perceptual, torch.device("cpu"))


def test_the_truth_is_perfect_and_grey_scores_two_and_a_half(
    squares: Squares, validation: Validation
) -> None:
    truth = scaled(squares).ab
    perfect = validation.figures(truth)
    assert perfect["val_L1"] == pytest.approx(0, abs=1e-7)
    assert perfect["val_score"] == pytest.approx(0, abs=1e-5)
    grey = validation.figures(torch.zeros_like(truth))
    assert grey["val_score"] == pytest.approx(2.5, abs=1e-3)
    assert grey["val_colourfulness"] == pytest.approx(0, abs=0.2)


def test_as_a_set_grey_scores_one_more(squares: Squares, perceptual: PerceptualLoss) -> None:
    validation = Validation(squares, perceptual, torch.device("cpu"), as_a_set=True)
    truth = scaled(squares).ab
    assert validation.figures(truth)["val_score"] == pytest.approx(0, abs=1e-5)
    assert validation.figures(torch.zeros_like(truth))["val_score"] == pytest.approx(3.5, abs=1e-3)


def test_grey_loses_against_colours_no_nearer_to_the_truth(squares: Squares, validation: Validation) -> None:
    """Right amount of colour, wrong places: as far from the truth as grey, or farther, yet chosen before it."""
    truth = scaled(squares).ab
    shuffled = truth.roll(5, dims=-1)
    grey, wrong = validation.figures(torch.zeros_like(truth)), validation.figures(shuffled)
    assert wrong["val_L1"] > grey["val_L1"]
    assert wrong["val_score"] < grey["val_score"]


def test_the_perceptual_figure_is_the_loss_of_all_squares(
    squares: Squares, validation: Validation, perceptual: PerceptualLoss
) -> None:
    pictures = scaled(squares)
    guess = pictures.ab.flip(3)
    with torch.no_grad():
        expected = float(perceptual(pictures.L, guess, pictures.ab))
    assert validation.figures(guess)["val_perceptual"] == pytest.approx(expected, rel=1e-4)


def test_loud_colours_lose_against_calmer_nearer_ones(squares: Squares, validation: Validation) -> None:
    """As an untrained generator's: they close the gap in colourfulness, and nothing else."""
    truth = scaled(squares).ab
    loud, calm = validation.figures(truth.roll(5, dims=-1)), validation.figures(truth * 0.6)
    assert loud["val_colourfulness"] > calm["val_colourfulness"]
    assert loud["val_score"] > calm["val_score"]


def test_psnr_agrees_with_scikit_image(squares: Squares, validation: Validation) -> None:
    guess = scaled(squares).ab * 0.5
    lab = np.concatenate([squares[..., :1] / 2.55, (squares[..., 1:] - 128.0) * 0.5], axis=-1)
    true = np.concatenate([squares[..., :1] / 2.55, squares[..., 1:] - 128.0], axis=-1)
    ours = np.rint(lab2rgb(lab) * 255).astype(np.uint8)
    theirs = np.rint(lab2rgb(true) * 255).astype(np.uint8)
    assert validation.figures(guess)["val_psnr"] == pytest.approx(
        peak_signal_noise_ratio(theirs, ours), abs=0.02
    )


def test_sample_picks_are_spread_and_stable(squares: Squares) -> None:
    assert np.array_equal(sample_picks(squares, 2), squares[[0, 2]])
    assert len(sample_picks(squares, 8)) == 3
