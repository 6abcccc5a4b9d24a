"""The models that the studio offers, by name; a promotion elsewhere changes the default without a restart."""

import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tintlab.inference.base_model import BASE
from tintlab.inference.base_model import FOLDER as BASE_FOLDER
from tintlab.inference.colorizer import Colorizer
from tintlab.registry import history
from tintlab.registry import models as registry
from tintlab.registry.champion import CHAMPION
from tintlab.registry.history import MODEL_NAME
from tintlab.scoring.settings import Options, ScoreSettings, settings_for
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.tracking import store

if TYPE_CHECKING:
    from tintlab.explore.directions import Directions

DEFAULT, LOCAL = "default", "local"
POLL_SECONDS = 5.0
"""How often the registry is asked which model is champion."""

_KEPT = 3  # models in memory, beside the default
_VERSION = re.compile(r"[1-9]\d{0,8}")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Model:
    """A model that is loaded.

    Attributes:
        settings: how it is used, and what its files say of it.
        colorizer: ready for use.
        directions: of its noise, or None.
    """

    settings: ScoreSettings
    colorizer: Colorizer
    directions: "Directions | None"

    @property
    def key(self) -> str:
        """Differs for every two models."""
        return f"{self.settings.weights_sha256} {self.settings.model_folder}"

    def facts(self) -> dict[str, Any]:
        """The facts about it that the page needs."""
        return {
            "model": self.settings.model,
            "version": self.settings.model_version,
            "weights_sha256": self.settings.weights_sha256,
            "saturation": self.settings.saturation,
            "takes_noise": self.colorizer.z_dim > 0,
            "takes_hints": self.colorizer.takes_hints,
            "directions": sorted(self.directions.directions) if self.directions else [],
        }


def load(spec: str | None, output: Path = Path(), options: Options | None = None) -> Model:
    """Load a model.

    Args:
        spec: see `registry.models.locate`; None is the default.
        output: the folder of coloured files.
        options: replace what the model's config says.

    Raises:
        TintlabError: there is no such model, or MLflow can't be reached.
    """
    # pandas and scikit-image come with these: half of the server's start.
    from tintlab.explore import directions
    from tintlab.explore.model import Explored
    from tintlab.scoring.chunk import load_colorizer

    settings = settings_for(output, spec, options or Options())
    colorizer = load_colorizer(settings)
    explored = Explored(settings.model_folder, settings.weights_sha256, settings.training, colorizer)
    try:
        found = directions.load(directions.place(settings.model_folder), explored)
    except TintlabError:
        found = None
    return Model(settings, colorizer, found)


class Models:
    """Loaded models; can be used from several threads.

    Args:
        spec: of the default; None follows the champion.
    """

    def __init__(self, spec: str | None = None) -> None:
        self._spec = spec
        self._loading = threading.Lock()
        self._default: Model | None = None
        self._others: dict[str, Model] = {}
        self._stopping = threading.Event()
        self._listed: list[dict[str, Any]] = []

    def get(self, name: str = DEFAULT) -> Model:
        """A model by the name that a client may use; never a path or URL.

        Raises:
            TintlabError: there is none of that name.
        """
        if name == DEFAULT:
            return self._default or self._load_default()
        spec = _spec_of(name)
        with self._loading:
            found = load(spec) if name == CHAMPION or name not in self._others else self._others[name]
            self._others.pop(name, None)
            self._others[name] = found
            while len(self._others) > _KEPT:
                del self._others[next(iter(self._others))]
            return found

    def list(self) -> list[dict[str, Any]]:
        """The names that `get` takes, with what the registry says of each, the default first."""
        default = self.get().facts() | {"name": DEFAULT}
        return [default, *self._listed]

    def follow(self, changed: Callable[[], None] = lambda: None) -> None:
        """Look for another champion now and then, until `stop`; to be run in a thread of its own."""
        while not self._stopping.is_set():
            try:
                self._listed = _listed()
                if self._spec is None and self._load_default(again=True):
                    changed()
            except Exception as error:  # whatever is with the registry, the present model serves on
                _log.warning("the present model is kept: %s", error)
            self._stopping.wait(POLL_SECONDS)

    def stop(self) -> None:
        """End `follow`."""
        self._stopping.set()

    def _load_default(self, again: bool = False) -> Model:
        with self._loading:
            if self._default is not None and not again:
                return self._default
            located = registry.locate(self._spec or registry.default_spec())
            present = self._default
            if (
                present is None
                or present.settings.model_folder != located.folder
                or present.settings.weights_sha256 != located.weights_sha256
            ):
                self._default = load(self._spec)
            assert self._default is not None
            return self._default


def _spec_of(name: str) -> str:
    if name in (CHAMPION, registry.CHALLENGER):
        return f"models:/{MODEL_NAME}@{name}"
    if name == BASE:
        return BASE
    if name == LOCAL:
        return str(paths.GENERATOR)
    if _VERSION.fullmatch(name):
        return f"models:/{MODEL_NAME}/{name}"
    raise TintlabError("there is no model of this name: /v1/models lists what there is")


def _listed() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if (paths.GENERATOR / paths.MODEL_CONFIG).exists():
        found.append({"name": LOCAL, "model": "the pipeline's last model"})
    if (BASE_FOLDER / paths.MODEL_CONFIG).exists():
        found.append({"name": BASE, "model": "base, which ships with tintlab"})
    if not store.store_exists():
        return found
    with store.connect() as client:
        champion = history.read(client).champion
        for version in reversed(registry.list_versions(client)):
            number = int(version.version)
            roles = [CHAMPION] if champion and champion.version == number else []
            found.append(
                {
                    "name": str(number),
                    "model": f"version {number}",
                    "champion": bool(roles),
                    "weights_sha256": registry.registered_hashes(version)[paths.WEIGHTS],
                }
            )
    return found
