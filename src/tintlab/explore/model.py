"""The model to explore."""

from dataclasses import dataclass
from pathlib import Path

from tintlab.inference.colorizer import Colorizer
from tintlab.registry import models
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import read_json

FAST_SIZE = 128
"""Working size for thousands of colourings: the size of the training's crops, at a quarter of the time."""


@dataclass(frozen=True)
class Explored:
    """A model with its folder and its hash.

    Attributes:
        folder: of its files.
        weights_sha256: of the generator's weights.
        training: the fingerprint of its training, or empty.
        colorizer: the loaded model.
    """

    folder: Path
    weights_sha256: str
    training: str
    colorizer: Colorizer

    def fast(self) -> Colorizer:
        """The model at `FAST_SIZE`, without averaging over the mirrored photo."""
        settings = self.colorizer.settings
        changed = {"working_size": min(FAST_SIZE, settings.working_size), "flip_average": False}
        return self.colorizer.with_settings(settings.model_copy(update=changed))

    def require_noise(self) -> None:
        """Check that the model takes a noise vector.

        Raises:
            TintlabError: it does not.
        """
        if not self.colorizer.z_dim:
            raise TintlabError(
                f"the model in {self.folder} takes no noise vector: train one with train.z_dim above 0"
            )


def open_model(spec: str | None) -> Explored:
    """Load a model: a folder, `models:/tintlab/3` or an alias; None is the champion if there is one.

    Raises:
        TintlabError: there is no such model, or it is damaged.
    """
    located = models.locate(spec or models.default_spec())
    config = read_json(located.folder / paths.MODEL_CONFIG)
    return Explored(
        located.folder,
        located.weights_sha256,
        str(config.get("fingerprint", "")),
        Colorizer.load(located.folder),
    )
