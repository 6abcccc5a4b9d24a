"""pix2pix's own noise: dropout that stays on when photographs are coloured (Isola et al. 2017, section 3.1)."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from torch import nn, random

from tintlab.imaging.color import Float
from tintlab.inference.colorizer import Colorizer
from tintlab.system.errors import TintlabError

_KINDS = (nn.Dropout, nn.Dropout2d)


@contextmanager
def dropping(generator: nn.Module, seed: int) -> Iterator[None]:
    """Within, the generator drops out as in training, by the seed. Afterwards it is as before.

    Raises:
        TintlabError: the generator has no dropout.
    """
    layers = [layer for layer in generator.modules() if isinstance(layer, _KINDS) and layer.p > 0]
    if not layers:
        raise TintlabError(
            "this model has no dropout, so all colourings would be the same: leave out --dropout"
        )
    before = [layer.training for layer in layers]
    with random.fork_rng(devices=[]):
        random.manual_seed(seed)
        for layer in layers:
            layer.train()
        try:
            yield
        finally:
            for layer, training in zip(layers, before, strict=True):
                layer.train(training)


def predict_with_dropout(colorizer: Colorizer, lightness: Float, seed: int, count: int) -> Float:
    """Predict ab `(count, h, w, 2)` of a photo at working size, L* `(h, w)`, with dropout.

    The mirrored photo is left out: averaging with it would halve the variety.
    """
    upright = colorizer.with_settings(colorizer.settings.model_copy(update={"flip_average": False}))
    with dropping(colorizer.generator, seed):
        return np.stack([upright.predict_working_ab(lightness[None])[0] for _ in range(count)])
