from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from torch import Tensor, nn

from tintlab.gan.model_files import build_generator, save_generator
from tintlab.imaging import color
from tintlab.imaging.photos import Photo
from tintlab.inference import guided
from tintlab.inference.colorizer import Colorizer, Settings
from tintlab.inference.guided import GuidedColours, coloured, joined, local_models
from tintlab.inference.working_size import MIN_SIDE, reduced, working_shape
from tintlab.system.errors import TintlabError

RANDOM = np.random.default_rng(0)
CONFIG = {"generator": "unet", "size": 32, "channels": 4, "dropout": 0.5, "z_dim": 0}


class Painter(nn.Module):
    """A stand-in for a generator: ab from the lightness around a pixel; notes the shapes it was shown."""

    def __init__(self, strength: float = 0.3, multiple: int = 32) -> None:
        super().__init__()
        self.strength = strength
        self.multiple = multiple
        self.seen: list[tuple[int, ...]] = []
        torch.manual_seed(0)
        self.mix = nn.Conv2d(1, 2, 5, padding=2)

    def forward(self, L: Tensor, z: Tensor | None = None) -> Tensor:
        assert L.shape[2] % self.multiple == 0
        assert L.shape[3] % self.multiple == 0
        assert L.abs().max() <= 1
        self.seen.append(tuple(L.shape))
        return torch.tanh(self.mix(L) * 3) * self.strength


def painter(strength: float = 0.3, multiple: int = 32, **settings: object) -> Colorizer:
    return Colorizer(Painter(strength, multiple).eval(), multiple, Settings.model_validate(settings))


def photo(height: int, width: int) -> color.Byte:
    """A grey picture with smooth areas, edges and noise."""
    rows, columns = np.mgrid[:height, :width]
    waves = 120 + 60 * np.sin(rows / 17) + 50 * (np.hypot(rows - height / 2, columns - width / 3) < 40)
    return np.clip(waves + RANDOM.normal(0, 4, (height, width)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((256, 256), 256, (256, 256)),
        ((4000, 6000), 256, (209, 314)),
        ((300, 400), 128, (111, 148)),
        ((50, 50), 128, (128, 128)),
        ((1, 1), 64, (64, 64)),
        ((37, 4001), 128, (32, 3460)),  # the short side keeps 32
        ((20, 4000), 128, (20, 4000)),  # but is not enlarged for it
        ((1, 100_000), 128, (1, 4096)),  # nor is a line longer than what memory bears
    ],
)
def test_working_shape(shape: tuple[int, int], size: int, expected: tuple[int, int]) -> None:
    assert working_shape(shape, size) == expected


def test_proportions_and_area_are_kept() -> None:
    for _ in range(200):
        height, width = (int(side) for side in RANDOM.integers(100, 6000, 2))
        small = working_shape((height, width), 256)
        if min(small) > MIN_SIDE:
            assert small[0] * small[1] == pytest.approx(256**2, rel=0.02)
            assert small[0] / small[1] == pytest.approx(height / width, rel=0.03)


@pytest.mark.parametrize("shape", [(37, 4001), (4001, 37), (1, 1), (1, 300), (2, 3), (101, 67), (256, 256)])
def test_output_size_is_input_size(shape: tuple[int, int]) -> None:
    result = painter().colorize(photo(*shape), working_size=64)
    assert result.shape == (*shape, 3)
    assert result.dtype == np.uint8


def test_a_large_photo_is_coloured_in_strips() -> None:
    """24 megapixels: seconds, and memory of the photo's own order."""
    large = np.tile(photo(400, 600), (10, 10))
    result = painter().colorize(large, working_size=128)
    assert result.shape == (4000, 6000, 3)
    assert np.abs(color.lightness(result[::7, ::7]) - color.lightness(large[::7, ::7])).mean() <= 0.2


def test_lightness_is_the_photos_own() -> None:
    grey = photo(120, 170)
    lightness = color.lightness(grey)
    ours = painter(strength=1.0)
    ab = ours.predict_ab(lightness, 64)
    assert np.hypot(ab[..., 0], ab[..., 1]).max() > 80  # far out of gamut: the test is a hard one
    before = color.lab_to_rgb_in_gamut(np.dstack([lightness, ab]))
    assert np.abs(rgb2lab(before.astype(np.float64))[..., 0] - lightness).max() < 0.01
    error = np.abs(rgb2lab(ours.colorize(grey, 64))[..., 0] - lightness)
    assert error.mean() <= 0.2
    assert np.quantile(error, 0.999) <= 1.0


def test_no_colour_leaves_a_grey_photo_as_it_was() -> None:
    grey = RANDOM.integers(0, 256, (90, 130), dtype=np.uint8)
    np.testing.assert_array_equal(painter(saturation=0).colorize(grey, 64), np.dstack([grey] * 3))


def test_the_colours_of_a_photo_are_ignored() -> None:
    rgb = RANDOM.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    grey = color.lightness_to_grey(color.lightness(rgb))
    deep = np.rint(grey * 65535).astype(np.uint16)
    ours = painter()
    from_grey = ours.colorize(Photo(deep, "PNG", "I;16"), 64)
    from_colour = ours.colorize(Photo(rgb, "PNG", "RGB"), 64)
    assert np.abs(from_grey.astype(int) - from_colour).max() <= 1


def test_alone_and_in_a_batch_are_the_same() -> None:
    stack = np.stack([reduced(color.lightness(photo(64 + k, 64)), (60, 70)) for k in range(5)])
    ours = painter()
    together = ours.predict_working_ab(stack)
    alone = np.concatenate([ours.predict_working_ab(one[None]) for one in stack])
    np.testing.assert_allclose(together, alone, atol=1e-3)
    shuffled = ours.predict_working_ab(stack[[3, 1, 4, 0, 2]])
    np.testing.assert_allclose(shuffled, together[[3, 1, 4, 0, 2]], atol=1e-3)


def test_the_network_sees_the_photo_small_and_padded() -> None:
    ours = painter(multiple=64)
    ours.predict_ab(color.lightness(photo(300, 400)), working_size=128)
    assert ours.generator.seen == [(1, 1, 128, 192)]  # 111 × 148, up to multiples of 64


def test_padding_reflects_and_is_cut_off() -> None:
    """A network that copies its input gives back the input, without the rim."""

    class Copy(nn.Module):
        def forward(self, L: Tensor, z: Tensor | None = None) -> Tensor:
            reflected = torch.from_numpy(np.pad(small, ((1, 2), (3, 3)), mode="reflect") / 50 - 1)
            torch.testing.assert_close(L[0, 0], reflected)
            return torch.cat([L, -L], dim=1)

    small = RANDOM.uniform(0, 100, (5, 10)).astype(np.float32)
    ab = Colorizer(Copy(), 8).predict_working_ab(small[None])
    np.testing.assert_allclose(ab[0, ..., 0], (small / 50 - 1) * 110, atol=1e-4)
    np.testing.assert_allclose(ab[0, ..., 1], (1 - small / 50) * 110, atol=1e-4)


def test_settings() -> None:
    lightness = color.lightness(photo(64, 64))[None]
    plain = painter().predict_working_ab(lightness)
    np.testing.assert_allclose(painter(saturation=1.5).predict_working_ab(lightness), 1.5 * plain, rtol=1e-5)
    mirrored = painter().predict_working_ab(np.ascontiguousarray(lightness[..., ::-1]))[:, :, ::-1]
    averaged = painter(flip_average=True).predict_working_ab(lightness)
    np.testing.assert_allclose(averaged, (plain + mirrored) / 2, atol=1e-3)
    assert not np.allclose(averaged, plain, atol=1)
    ours = painter(working_size=96)
    ours.colorize(photo(200, 200))
    assert ours.generator.seen == [(1, 1, 96, 96)]


def slopes_by_the_book(ab: np.ndarray, guide: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """He & Sun 2015, eq. 3 and the mean over windows of eq. 5, window by window; border pixels are repeated."""
    guide, ab = (np.pad(values.astype(np.float64), radius, mode="edge") for values in (guide, ab))

    def windows(values: np.ndarray) -> np.ndarray:
        return np.lib.stride_tricks.sliding_window_view(values, (2 * radius + 1, 2 * radius + 1))

    slopes = np.zeros(windows(guide).shape[:2])
    for place in np.ndindex(slopes.shape):
        i, p = windows(guide)[place], windows(ab)[place]
        slopes[place] = ((i * p).mean() - i.mean() * p.mean()) / (i.var() + epsilon)
    return windows(np.pad(slopes, radius, mode="edge")).mean(axis=(2, 3))


def test_slopes_are_the_guided_filters() -> None:
    guide = RANDOM.uniform(20, 80, (12, 17)).astype(np.float32)
    ab = RANDOM.normal(0, 20, (12, 17, 2)).astype(np.float32)
    models = local_models(ab, guide)
    for channel in (0, 1):
        expected = slopes_by_the_book(ab[..., channel], guide, guided._RADIUS, guided._EPSILON)
        np.testing.assert_allclose(models[:, channel], expected, atol=1e-3)


def test_at_working_size_the_networks_colours_stay_as_they_are() -> None:
    guide = RANDOM.uniform(20, 80, (12, 17)).astype(np.float32)
    ab = RANDOM.normal(0, 20, (12, 17, 2)).astype(np.float32)
    np.testing.assert_allclose(GuidedColours(ab, guide, (12, 17)).ab(guide, slice(0, 12)), ab, atol=1e-3)


def test_strips_equal_the_whole() -> None:
    lightness = color.lightness(photo(301, 203))
    small = reduced(lightness, (60, 40))
    colours = GuidedColours(RANDOM.normal(0, 20, (60, 40, 2)).astype(np.float32), small, lightness.shape)
    whole = colours.ab(lightness, slice(0, 301))
    for height in (1, 7, 100):
        rows = [slice(top, min(top + height, 301)) for top in range(0, 301, height)]
        strips = np.concatenate([colours.ab(lightness[strip], strip) for strip in rows])
        np.testing.assert_array_equal(strips, whole)
    np.testing.assert_array_equal(coloured(lightness, colours), joined(lightness, whole))


def test_colours_keep_to_the_photos_edges() -> None:
    """A red disc on blue ground, seen at an eighth: near the edge, a fraction of plain upsampling's error."""
    rows, columns = np.mgrid[:256, :256]
    disc = np.hypot(rows - 128, columns - 128) < 70
    lightness = np.where(disc, 60, 30).astype(np.float32)
    true = np.where(disc[..., None], [50, 30], [-10, -40]).astype(np.float32)
    shape = (32, 32)
    small_ab = np.stack([reduced(true[..., k] + 50, shape) - 50 for k in (0, 1)], axis=-1)
    full = GuidedColours(small_ab, reduced(lightness, shape), (256, 256)).ab(lightness, slice(0, 256))
    plain = np.stack([reduced(small_ab[..., k] + 50, (256, 256)) - 50 for k in (0, 1)], axis=-1)
    near = np.abs(np.hypot(rows - 128, columns - 128) - 70) < 6
    error, plain_error = (np.abs(ab - true)[near].mean() for ab in (full, plain))
    assert plain_error > 10
    assert error < plain_error / 3


def test_one_colour_stays_one_colour() -> None:
    lightness = color.lightness(photo(50, 70))
    ab = np.broadcast_to(np.array([12, -34], np.float32), (20, 28, 2))
    full = GuidedColours(ab, reduced(lightness, (20, 28)), (50, 70)).ab(lightness, slice(0, 50))
    np.testing.assert_allclose(full, np.broadcast_to([12, -34], (50, 70, 2)), atol=0.01)


def test_reduction_neither_shifts_nor_leaves_the_range() -> None:
    ramp = np.broadcast_to(np.linspace(0, 100, 400, dtype=np.float32), (300, 400))
    small = reduced(ramp, (60, 80))
    np.testing.assert_allclose(small[30, 5:-5], ramp.reshape(300, 80, 5).mean(axis=2)[0, 5:-5], atol=0.01)
    steps = np.where(ramp > 50, 100, 0).astype(np.float32)
    assert reduced(steps, (60, 80)).min() >= 0
    assert reduced(steps, (60, 80)).max() <= 100
    stripes = np.tile(np.array([0, 100], np.float32), (300, 200))
    assert np.ptp(reduced(stripes, (60, 80))[:, 5:-5]) < 2  # finer than the result: grey, no moiré


def test_load(tmp_path: Path) -> None:
    generator = build_generator(CONFIG).eval()
    save_generator(tmp_path, generator, CONFIG | {"saturation": 1.25})
    lightness = color.lightness(photo(40, 50))
    loaded = Colorizer.load(tmp_path)
    direct = Colorizer(generator, 32, Settings(saturation=1.25))
    np.testing.assert_allclose(
        loaded.predict_ab(lightness, 64), direct.predict_ab(lightness, 64), rtol=1e-4, atol=1e-4
    )


def test_one_and_two_threads_agree(tmp_path: Path) -> None:
    save_generator(tmp_path, build_generator(CONFIG).eval(), CONFIG)
    ours = Colorizer.load(tmp_path)
    grey = photo(90, 120)
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(ours.colorize(grey, 64).astype(int))
    torch.set_num_threads(1)
    assert np.abs(results[0] - results[1]).max() <= 1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"saturation": -1}, r"saturation: .*greater than or equal to 0"),
        ({"saturation": "vivid"}, r"saturation: "),
        ({"working_size": 8}, r"working_size: "),
        ({"flip_average": "maybe"}, r"flip_average: "),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, setting: dict[str, object], message: str) -> None:
    save_generator(tmp_path, build_generator(CONFIG), CONFIG | setting)
    with pytest.raises(TintlabError, match=rf"config\.json: {message}"):
        Colorizer.load(tmp_path)


def test_no_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(TintlabError, match=r"no model in .*nowhere"):
        Colorizer.load(tmp_path / "nowhere")
