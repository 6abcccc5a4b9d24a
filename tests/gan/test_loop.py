import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tintlab.gan.checkpoints import iteration_of, numbered
from tintlab.gan.data import Lab, Mixture, Squares, scaled
from tintlab.gan.loop import Training
from tintlab.gan.losses import METERS
from tintlab.imaging.squares import Shards
from tintlab.system.errors import TintlabError
from tintlab.system.params import TrainParams, load_params
from tintlab.system.paths import LAST_WEIGHTS, WEIGHTS


class Recorded:
    """A listener that remembers, and can interrupt a training as a crash would."""

    def __init__(self, stop_at: int = -1) -> None:
        self.stop_at = stop_at
        self.texts: list[str] = []
        self.meters: dict[int, dict[str, float]] = {}
        self.samples: dict[int, torch.Tensor] = {}
        self.figures: dict[int, dict[str, float]] = {}

    def announced(self, text: str) -> None:
        self.texts.append(text)

    def stepped(self, iteration: int) -> None:
        if iteration == self.stop_at:
            raise ConnectionAbortedError

    def displayed(self, iteration: int, meters: dict[str, float]) -> None:
        self.meters[iteration] = meters

    def sampled(self, iteration: int, pictures: Lab, predicted: torch.Tensor) -> None:
        self.samples[iteration] = predicted

    def validated(self, epoch: int, iteration: int, figures: dict[str, float]) -> None:
        self.figures[epoch] = figures


@pytest.fixture
def squares() -> Squares:
    """Twelve squares of 40 px whose colour follows their lightness, so that there is something to learn."""
    random = np.random.default_rng(0)
    coarse = random.integers(40, 220, (12, 10, 10)).repeat(4, axis=1).repeat(4, axis=2)
    return np.stack([coarse, 60 + coarse / 2, 220 - coarse / 2], axis=-1).astype(np.uint8)


def tiny(**changes: Any) -> TrainParams:
    """A training of seconds, by the pix2pix recipe unless changed."""
    small = {
        "generator": "unet",
        "image_size": 32,
        "channels": 8,
        "dropout": 0.5,
        "discriminator_channels": 8,
        "discriminator_norm": "batch",
        "hints": False,
        "guidance_epochs": 0,
        "rebalancing": 0.0,
        "lambda_kernel": 0.0,
        "context_dropout": 0.3,
        "l1_learning_rate": 0.001,
        "l1_epochs": 0,
        "z_dim": 0,
        "variety_epochs": 0,
        "gan_warmup": 0,
        "crop": (32, 32),
        "lambda_perceptual": 0.0,
        "learning_rate": 2e-4,
        "weight_decay": 0.0,
        "ema_decay": 0.0,
        "epochs": 2,
        "iterations_per_epoch": 4,
        "batch_size": 3,
        "display_every": 2,
        "checkpoint_every": 3,
        "threads": 1,
        "device": "cpu",
    }
    return load_params().train.model_copy(update=small | changes)


def test_a_training_reports_what_it_should(squares: Squares, tmp_path: Path) -> None:
    listener = Recorded()
    history = Training(tiny(), tmp_path, listener).run(squares, squares[:4])
    assert "model initialized with norm initialization" in listener.texts
    assert list(listener.meters) == list(listener.samples) == [2, 4, 6, 8]
    assert list(listener.figures) == [1, 2]
    assert all(tuple(meters) == METERS for meters in listener.meters.values())
    for meters in listener.meters.values():
        assert meters["loss_D"] == pytest.approx(
            (meters["loss_D_fake"] + meters["loss_D_real"]) / 2, rel=1e-5
        )
        assert meters["loss_G"] == pytest.approx(meters["loss_G_GAN"] + meters["loss_G_L1"], rel=1e-5)
    assert listener.samples[8].shape == (4, 2, 32, 32)
    assert [row["iteration"] for row in history.losses] == [2, 4, 6, 8]
    assert {WEIGHTS, LAST_WEIGHTS} <= {path.name for path in tmp_path.iterdir()}


def test_shards_train_the_weights_of_one_array(squares: Squares, tmp_path: Path) -> None:
    shards = cast(Squares, Shards([squares[:5], squares[5:6], squares[6:]]))
    for name, material in (("array", squares), ("shards", shards)):
        Training(tiny(), tmp_path / name, Recorded()).run(material, material[:4])
    for weights in (WEIGHTS, LAST_WEIGHTS):
        assert (tmp_path / "array" / weights).read_bytes() == (tmp_path / "shards" / weights).read_bytes()


def test_the_l1_meter_is_lambda_times_the_error(squares: Squares, tmp_path: Path) -> None:
    batch = scaled(squares[:4, :32, :32])
    for lambda_l1 in (0.0, 10.0):
        training = Training(tiny(lambda_l1=lambda_l1, dropout=0.0), tmp_path, Recorded())
        with torch.no_grad():
            error = (training.networks.generator(batch.L) - batch.ab).abs().mean().item()
        losses = training.step(batch)
        assert losses["loss_G_L1"].item() == pytest.approx(lambda_l1 * error, rel=1e-5)


def test_the_discriminator_learns_only_in_its_half_of_the_step(squares: Squares, tmp_path: Path) -> None:
    """After a step its parameters differ by one Adam step at the most: none comes from the generator's half."""
    training = Training(tiny(), tmp_path, Recorded())
    before = {
        name: value.clone() for name, value in training.networks.discriminator.module.named_parameters()
    }
    training.step(scaled(squares[:4, :32, :32]))
    for name, value in training.networks.discriminator.module.named_parameters():
        assert (value - before[name]).abs().max() <= 2e-4 * 1.001
        assert value.requires_grad


def test_one_batch_can_be_learnt_by_heart(squares: Squares, tmp_path: Path) -> None:
    params = tiny(dropout=0.0, learning_rate=2e-3, channels=16)
    training = Training(params, tmp_path, Recorded())
    batch = scaled(squares[:4, :32, :32])
    first = training.step(batch)["loss_G_L1"].item()
    for _ in range(80):
        last = training.step(batch)["loss_G_L1"].item()
    assert last < first / 4


TWO_PHASES = {
    "generator": "pretrained_unet",
    "l1_epochs": 1,
    "gan_warmup": 2,
    "crop": (24, 40),
    "contrast": 0.2,
    "lambda_perceptual": 5.0,
    "ema_decay": 0.9,
}
THREE_PHASES = TWO_PHASES | {"z_dim": 4, "variety_epochs": 1, "epochs": 3}
FOUR_PHASES = THREE_PHASES | {
    "hints": True,
    "guidance_epochs": 1,
    "epochs": 4,
    "rebalancing": 0.5,
    "lambda_kernel": 7.0,
}


@pytest.mark.parametrize(
    ("stop_at", "recipe"),
    [(4, {}), (7, {}), (7, TWO_PHASES), (5, THREE_PHASES), (10, FOUR_PHASES), (14, FOUR_PHASES)],
)
def test_an_interrupted_training_ends_as_an_undisturbed_one(
    squares: Squares, tmp_path: Path, stop_at: int, recipe: dict[str, Any]
) -> None:
    params = tiny(**recipe)
    whole = Training(params, tmp_path / "whole", Recorded()).run(squares, squares[:4])
    with pytest.raises(ConnectionAbortedError):
        Training(params, tmp_path / "cut", Recorded(stop_at)).run(squares, squares[:4])
    torch.rand(17)  # the random state of a new process is another one
    listener = Recorded()
    resumed = Training(params, tmp_path / "cut", listener).run(squares, squares[:4])
    assert f"continuing after iteration {3 * (stop_at // 3)}" in listener.texts
    assert resumed == whole
    for name in (WEIGHTS, LAST_WEIGHTS):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


@pytest.mark.parametrize("generator", ["unet", "pretrained_unet"])
def test_an_interrupted_fine_tuning_ends_as_an_undisturbed_one(
    squares: Squares, tmp_path: Path, generator: str
) -> None:
    """From a parent, with rehearsal, its encoder let go after the first epoch; cut before and after that."""
    parent = Training(tiny(generator=generator, seed=7), tmp_path / "parent", Recorded())
    weights = parent.networks.kept_generator.state_dict()
    params = tiny(generator=generator, frozen_epochs=1, ema_decay=0.9, focus=("any",), rehearsal=0.4)
    mixture = Mixture(np.arange(5), np.arange(5, 12), params.rehearsed)
    ends = []
    for folder, stops in (("whole", []), ("cut", [3, 7])):
        for stop in stops:
            with pytest.raises(ConnectionAbortedError):
                Training(params, tmp_path / folder, Recorded(stop + 1), weights).run(
                    squares, squares[:4], mixture=mixture
                )
        training = Training(params, tmp_path / folder, Recorded(), weights)
        history = training.run(squares, squares[:4], mixture=mixture)
        ends.append((history, (tmp_path / folder / LAST_WEIGHTS).read_bytes()))
    assert ends[0] == ends[1]


@pytest.mark.parametrize(("generator", "encoder"), [("unet", "downs"), ("pretrained_unet", "encoder")])
def test_a_frozen_encoder_learns_from_its_epoch_the_rest_before(
    squares: Squares, tmp_path: Path, generator: str, encoder: str
) -> None:
    params = tiny(generator=generator, frozen_epochs=1, weight_decay=0.1)
    training = Training(params, tmp_path, Recorded())
    batch = scaled(squares[:4, :32, :32])

    def weights() -> dict[str, torch.Tensor]:
        network = training.networks.generator.module
        return {name: value.detach().clone() for name, value in network.named_parameters()}

    def moved(before: dict[str, torch.Tensor]) -> set[bool]:
        now = weights()
        return {name.startswith(f"{encoder}.") for name in now if not torch.equal(now[name], before[name])}

    before = weights()
    for training.iteration in range(4):
        training.step(batch)
    assert moved(before) == {False}
    before = weights()
    training.iteration = 4
    training.step(batch)
    assert moved(before) == {False, True}


def test_fine_tuning_starts_from_its_parent_at_another_size_too(squares: Squares, tmp_path: Path) -> None:
    params = tiny(generator="pretrained_unet", ema_decay=0.9)
    weights = Training(
        params.model_copy(update={"seed": 7}), tmp_path, Recorded()
    ).networks.kept_generator.state_dict()
    larger = params.model_copy(update={"image_size": 64, "crop": (20, 40)})
    child = Training(larger, tmp_path, Recorded(), weights)
    for network in (child.networks.generator.module, child.networks.kept_generator):
        assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    child.step(scaled(squares[:4, :32, :32]))
    assert not torch.equal(child.networks.generator.module.output.weight, weights["output.weight"])


def test_the_best_weights_are_those_of_the_best_score(squares: Squares, tmp_path: Path) -> None:
    history = Training(tiny(epochs=4, learning_rate=0.05), tmp_path, Recorded()).run(squares, squares[:4])
    scores = [row["val_score"] for row in history.validation]
    best, last = load_file(tmp_path / WEIGHTS), load_file(tmp_path / LAST_WEIGHTS)
    same = all(torch.equal(best[name], last[name]) for name in best)
    assert same == (min(range(4), key=scores.__getitem__) == 3)


def test_divergence_stops_with_advice(squares: Squares, tmp_path: Path) -> None:
    with pytest.raises(TintlabError, match=r"diverged.*iteration 2.*learning_rate"):
        Training(tiny(lambda_l1=float("inf")), tmp_path, Recorded()).run(squares, squares[:4])


def test_the_discriminator_rests_in_l1_and_the_gan_warms_up(squares: Squares, tmp_path: Path) -> None:
    training = Training(tiny(l1_epochs=1, gan_warmup=4), tmp_path, Recorded())
    batch = scaled(squares[:4, :32, :32])
    judge = training.networks.discriminator.module
    before = [parameter.clone() for parameter in judge.parameters()]
    resting = training.step(batch)
    assert resting["loss_D"].item() == resting["loss_G_GAN"].item() == 0
    assert all(torch.equal(old, new) for old, new in zip(before, judge.parameters(), strict=True))
    training.iteration = 4
    first = training.step(batch)
    assert first["loss_D"].item() > 0
    assert first["loss_G_GAN"].item() == pytest.approx(0.25 * 0.7, rel=0.3)  # a quarter of about ln 2
    assert any(not torch.equal(old, new) for old, new in zip(before, judge.parameters(), strict=True))


def test_the_kept_generator_is_the_moving_average(squares: Squares, tmp_path: Path) -> None:
    training = Training(tiny(ema_decay=0.5), tmp_path, Recorded())
    batch = scaled(squares[:4, :32, :32])
    name, weight = next(iter(training.networks.generator.module.named_parameters()))
    expected = weight.detach().clone()  # the first update copies
    for updates in range(3):
        training.step(batch)
        keep = min(0.5, (1 + updates) / (10 + updates)) if updates else 0.0
        expected = keep * expected + (1 - keep) * weight.detach()
        kept = dict(training.networks.kept_generator.named_parameters())[name]
        torch.testing.assert_close(kept, expected)
    assert not torch.equal(kept, weight)


def test_the_gan_starts_from_the_average(squares: Squares, tmp_path: Path) -> None:
    params = tiny(l1_epochs=1, ema_decay=0.9, learning_rate=1e-12, discriminator_learning_rate=1e-12)
    training = Training(params, tmp_path, Recorded())
    batch = scaled(squares[:4, :32, :32])
    for training.iteration in range(4):
        training.step(batch)
    average = [parameter.detach().clone() for parameter in training.networks.kept_generator.parameters()]
    assert not torch.allclose(average[0], next(training.networks.generator.module.parameters()))
    training.iteration = 4
    training.step(batch)
    for averaged, current in zip(average, training.networks.generator.module.parameters(), strict=True):
        torch.testing.assert_close(averaged, current, rtol=1e-4, atol=1e-7)


def test_the_pretrained_encoder_stays_as_imagenet_left_it(squares: Squares, tmp_path: Path) -> None:
    training = Training(tiny(**TWO_PHASES), tmp_path, Recorded())
    encoder = training.networks.generator.module.encoder
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    decoder = training.networks.generator.module.output.weight.detach().clone()
    training.run(squares, squares[:4])
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert not torch.equal(decoder, training.networks.generator.module.output.weight)
    saved = load_file(tmp_path / WEIGHTS)
    assert all(torch.equal(saved[f"encoder.{name}"], value) for name, value in before.items())


def test_the_perceptual_meter_stands_beside_the_six(squares: Squares, tmp_path: Path) -> None:
    training = Training(tiny(lambda_perceptual=3.0), tmp_path, Recorded())
    losses = training.step(scaled(squares[:4, :32, :32]))
    assert losses["loss_G"].item() == pytest.approx(
        (losses["loss_G_GAN"] + losses["loss_G_L1"]).item(), rel=1e-5
    )
    assert losses["loss_G_perceptual"].item() > 0


@pytest.mark.parametrize("learning_rate", [1e25, 1e38])
def test_guard_divergence_what_has_diverged_is_never_saved(
    squares: Squares, tmp_path: Path, learning_rate: float
) -> None:
    """Guard: `Training._save_checkpoint` looks at the losses first; so the next start does not begin there."""
    params = tiny(learning_rate=learning_rate, display_every=100, checkpoint_every=1)
    with pytest.raises(TintlabError, match="diverged"):
        Training(params, tmp_path, Recorded()).run(squares, squares[:4])
    for path in numbered(tmp_path / "checkpoints"):
        state = torch.load(path, weights_only=True)  # noqa: TID251
        assert all(math.isfinite(value) for value in state["meters"].values())


def test_guard_divergence_keeps_the_last_good_weights(squares: Squares, tmp_path: Path) -> None:
    """Guard: `Training._stop_if_diverged`: here from the second epoch on."""
    params = tiny(l1_epochs=1, l1_learning_rate=1e-3, learning_rate=1e30, epochs=3)
    with pytest.raises(TintlabError, match=rf"diverged.*iteration \d.*learning_rate.*{tmp_path}/{WEIGHTS}"):
        Training(params, tmp_path, Recorded()).run(squares, squares[:4])
    assert all(tensor.isfinite().all() for tensor in load_file(tmp_path / WEIGHTS).values())


def test_guard_collapse_of_the_gan_stops_the_training(squares: Squares, tmp_path: Path) -> None:
    """Guard: `Training._stop_if_collapsed`. The generator is held, and told from photographs with ease."""
    params = tiny(
        learning_rate=1e-12, discriminator_learning_rate=0.02, dropout=0.0, iterations_per_epoch=30, epochs=6
    )
    listener = Recorded()
    message = r"discriminator collapsed: loss_D is .* iteration (60|90|120|150|180); .*discriminator_learning"
    with pytest.raises(TintlabError, match=message):
        Training(params, tmp_path, listener).run(squares, squares[:4])
    assert (tmp_path / WEIGHTS).exists()


def test_no_collapse_in_the_phase_without_a_discriminator(squares: Squares, tmp_path: Path) -> None:
    history = Training(tiny(l1_epochs=2), tmp_path, Recorded()).run(squares, squares[:4])
    assert [row["loss_D"] for row in history.losses] == [0, 0, 0, 0]


def test_guard_stop_who_is_asked_to_stop_saves_after_the_step(squares: Squares, tmp_path: Path) -> None:
    """Guard: `asked_to_stop` in `Training.run`. Iteration 5 has no checkpoint of its own."""
    whole = Training(tiny(), tmp_path / "whole", Recorded()).run(squares, squares[:4])
    cut = Training(tiny(), tmp_path / "cut", Recorded())
    with pytest.raises(KeyboardInterrupt):
        cut.run(squares, squares[:4], lambda: cut.iteration == 5)
    assert iteration_of(numbered(tmp_path / "cut" / "checkpoints")[0]) == 5
    assert Training(tiny(), tmp_path / "cut", Recorded()).run(squares, squares[:4]) == whole


def test_guard_workers_loader_processes_change_no_byte(squares: Squares, tmp_path: Path) -> None:
    """Guard: a batch is a function of the seed and its number; also when the training is resumed with others."""
    folders = [tmp_path / "none", tmp_path / "two", tmp_path / "changed"]
    for folder, workers in zip(folders[:2], (0, 2), strict=True):
        Training(tiny(workers=workers), folder, Recorded()).run(squares, squares[:4])
    with pytest.raises(ConnectionAbortedError):
        Training(tiny(workers=2), folders[2], Recorded(5)).run(squares, squares[:4])
    Training(tiny(workers=1), folders[2], Recorded()).run(squares, squares[:4])
    assert len({(folder / LAST_WEIGHTS).read_bytes() for folder in folders}) == 1


def test_the_last_phase_teaches_the_noise_and_keeps_the_colours(squares: Squares, tmp_path: Path) -> None:
    params = tiny(**THREE_PHASES)
    before = tmp_path / "before"
    Training(tiny(**THREE_PHASES | {"z_dim": 0, "variety_epochs": 0, "epochs": 2}), before, Recorded()).run(
        squares, squares[:4]
    )
    training = Training(params, tmp_path / "after", Recorded())
    first = {
        name: value.clone() for name, value in training.networks.generator.module.noise.state_dict().items()
    }
    history = training.run(squares, squares[:4])
    best, ended = load_file(before / WEIGHTS), load_file(tmp_path / "after" / WEIGHTS)
    noise = {
        name.removeprefix("noise."): ended.pop(name) for name in list(ended) if name.startswith("noise.")
    }
    assert ended.keys() == best.keys()
    assert all(torch.equal(value, best[name]) for name, value in ended.items())
    assert all(not torch.equal(value, first[name]) for name, value in noise.items())
    assert [row["epoch"] for row in history.validation if "val_variety" in row] == [3]
    assert history.losses[-1]["loss_G_KL"] > 0 and history.losses[-1]["loss_G_latent"] > 0
    last = load_file(tmp_path / "after" / LAST_WEIGHTS)
    assert all(torch.equal(value, last[name]) for name, value in load_file(before / LAST_WEIGHTS).items())


def test_hint_layers_learn_and_change_no_plain_colour(squares: Squares, tmp_path: Path) -> None:
    plain = FOUR_PHASES | {"z_dim": 0, "variety_epochs": 0, "hints": False, "guidance_epochs": 0, "epochs": 2}
    Training(tiny(**plain), tmp_path / "plain", Recorded()).run(squares, squares[:4])
    longer = FOUR_PHASES | {"guidance_epochs": 3, "epochs": 6, "iterations_per_epoch": 4}
    history = Training(tiny(**longer), tmp_path / "guided", Recorded()).run(squares, squares[:4])
    best, ended = (load_file(tmp_path / folder / WEIGHTS) for folder in ("plain", "guided"))
    assert all(torch.equal(value, ended[name]) for name, value in best.items())
    assert ended["hints.colours.weight"].abs().max() > 0
    assert ended["palette.modulations.heads.0.weight"].abs().max() > 0
    guided = [row["val_guided_L1"] for row in history.validation if "val_guided_L1" in row]
    assert len(guided) == 3
    assert guided[-1] < guided[0]


def test_bf16_on_a_cpu_learns_much_the_same(squares: Squares, tmp_path: Path) -> None:
    """Rounding to 8 bits moves the losses by a few per cent at most; the kept weights stay in float32."""
    ends = {}
    for precision in ("fp32", "bf16"):
        params = tiny(**TWO_PHASES | {"dropout": 0.0, "context_dropout": 0.0}, precision=precision)
        folder = tmp_path / precision
        ends[precision] = Training(params, folder, Recorded()).run(squares, squares[:4]).losses[-1]
        assert all(value.dtype != torch.bfloat16 for value in load_file(folder / WEIGHTS).values())
    for name in ("loss_G_L1", "loss_G_perceptual", "loss_D"):
        assert ends["bf16"][name] == pytest.approx(ends["fp32"][name], rel=0.1)
    assert ends["bf16"] != ends["fp32"]


def test_noise_learns_the_colours_that_lightness_leaves_open(tmp_path: Path) -> None:
    """Squares of one lightness, half of them red, half blue: z must tell which; no z is what is between."""
    squares = np.full((8, 40, 40, 3), 128, np.uint8)
    squares[..., 0] = np.random.default_rng(0).integers(100, 150, (8, 40, 40))
    squares[:4, ..., 1], squares[4:, ..., 2] = 178, 78
    recipe = {"epochs": 12, "l1_epochs": 6, "variety_epochs": 6, "iterations_per_epoch": 25, "batch_size": 8}
    params = tiny(
        **THREE_PHASES
        | recipe
        | {"lambda_perceptual": 0.0, "dropout": 0.0, "lambda_kl": 0.001, "context_dropout": 0.0}
    )
    training = Training(params, tmp_path, Recorded())
    training.run(squares, squares[:4])
    L = scaled(squares[:1, :32, :32]).L.expand(64, -1, -1, -1)
    generator = training.networks.kept_generator
    with torch.inference_mode():
        plain = generator(L[:1]).mean(dim=(0, 2, 3)) * 110
        red, blue = (
            (generator(L, torch.randn(64, 4, generator=torch.Generator().manual_seed(1))) * 110)
            .mean(dim=(2, 3))
            .T
        )
    assert red.min() < 15 and red.max() > 35
    assert torch.corrcoef(torch.stack([red, blue]))[0, 1] > 0.5  # both colours are one answer: a up, b up
    assert 5 < plain[0] < 45
