import numpy as np
import pytest
import torch
from skimage.color import lab2rgb
from skimage.metrics import peak_signal_noise_ratio

from tintlab.gan.data import Squares, scaled
from tintlab.gan.validation import sample_picks, validate


@pytest.fixture
def squares() -> Squares:
    random = np.random.default_rng(0)
    packed = np.empty((3, 16, 16, 3), np.uint8)
    packed[..., 0] = random.integers(80, 180, (3, 16, 16))
    packed[..., 1:] = random.integers(108, 149, (3, 16, 16, 2))
    return packed


def test_the_truth_is_perfect_and_grey_scores_two(squares: Squares) -> None:
    truth = scaled(squares).ab
    perfect = validate(squares, truth)
    assert perfect["val_L1"] == pytest.approx(0, abs=1e-7)
    assert perfect["val_score"] == pytest.approx(0, abs=1e-5)
    grey = validate(squares, torch.zeros_like(truth))
    assert grey["val_score"] == pytest.approx(2, abs=1e-3)
    assert grey["val_colourfulness"] == pytest.approx(0, abs=0.2)


def test_grey_loses_against_colours_no_nearer_to_the_truth(squares: Squares) -> None:
    """Right amount of colour, wrong places: as far from the truth as grey, or farther, yet chosen before it."""
    truth = scaled(squares).ab
    shuffled = truth.roll(5, dims=-1)
    grey, wrong = validate(squares, torch.zeros_like(truth)), validate(squares, shuffled)
    assert wrong["val_L1"] > grey["val_L1"]
    assert wrong["val_score"] < grey["val_score"]


def test_psnr_agrees_with_scikit_image(squares: Squares) -> None:
    guess = scaled(squares).ab * 0.5
    lab = np.concatenate([squares[..., :1] / 2.55, (squares[..., 1:] - 128.0) * 0.5], axis=-1)
    true = np.concatenate([squares[..., :1] / 2.55, squares[..., 1:] - 128.0], axis=-1)
    ours = np.rint(lab2rgb(lab) * 255).astype(np.uint8)
    theirs = np.rint(lab2rgb(true) * 255).astype(np.uint8)
    assert validate(squares, guess)["val_psnr"] == pytest.approx(
        peak_signal_noise_ratio(theirs, ours), abs=0.02
    )


def test_sample_picks_are_spread_and_stable(squares: Squares) -> None:
    assert np.array_equal(sample_picks(squares, 2), squares[[0, 2]])
    assert len(sample_picks(squares, 8)) == 3
