"""Directions in the noise along which an attribute of the colours grows.

As in InterFaceGAN (Shen et al. 2020, arXiv 2005.09635): codes are drawn, their colourings are scored, and a
linear SVM separates the codes with the highest scores from those with the lowest. Its unit normal is the
direction. Here a code is compared only with other codes of the same photo, so that the photo's content does not
count.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from tintlab.evaluation.metrics import Numbers
from tintlab.explore.attributes import ATTRIBUTES, scores
from tintlab.explore.model import Explored
from tintlab.explore.subjects import Subject
from tintlab.imaging.color import Float
from tintlab.inference import noise_vectors
from tintlab.inference.colorizer import Colorizer
from tintlab.system import console, paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import read_json, write_json

FILE = paths.DIRECTIONS

_EXTREME = 0.2  # share of the codes at either end
_HELD_OUT = 0.3  # share of the photographs
_LEAST_PHOTOS = 4
_SVM_C = 0.1
_LEAST_LEFT = 1e-6  # length of a remainder that still counts as a direction


class Direction(BaseModel):
    """The direction of one attribute.

    Attributes:
        normal: unit vector, `z_dim` numbers.
        accuracy: share of held-out photographs' codes on the right side of the boundary.
        fitted: number of codes that the boundary was fitted to.
        held_out: number of codes that it was tested on.
    """

    model_config = ConfigDict(frozen=True)

    normal: list[float]
    accuracy: float
    fitted: int
    held_out: int


class Directions(BaseModel):
    """The directions of one model, as the file beside it holds them.

    Attributes:
        weights_sha256: of the model's weights.
        z_dim: length of its noise vectors.
        photos: number of photographs.
        codes_a_photo: number of codes for each photograph.
        seed: of the codes and the split.
        directions: by attribute.
    """

    model_config = ConfigDict(frozen=True)

    weights_sha256: str
    z_dim: int
    photos: int
    codes_a_photo: int
    seed: int
    directions: dict[str, Direction]

    def normal(self, attribute: str) -> Numbers:
        """The unit vector of an attribute, `(z_dim,)`.

        Raises:
            TintlabError: the model has no such direction.
        """
        if attribute not in self.directions:
            known = ", ".join(self.directions)
            raise TintlabError(f"there is no direction for {attribute!r}: this model has {known}")
        return np.asarray(self.directions[attribute].normal)

    def conditional(self, attribute: str) -> Numbers:
        """The direction of an attribute that leaves the attributes it holds unchanged: a unit vector.

        Its normal less its projection onto the span of their normals (InterFaceGAN, section 2.3).

        Raises:
            TintlabError: nothing is left.
        """
        left = self._left(attribute)
        length = float(np.linalg.norm(left))
        if length < _LEAST_LEFT:
            raise TintlabError(f"{attribute} can't be changed alone: use its direction without --conditional")
        return np.asarray(left / length)

    def separable(self) -> list[str]:
        """The attributes that have a conditional direction."""
        return [name for name in self.directions if np.linalg.norm(self._left(name)) >= _LEAST_LEFT]

    def _left(self, attribute: str) -> Numbers:
        """A normal without its projection onto the normals of the held attributes."""
        normal = self.normal(attribute)
        others = [self.normal(name) for name in ATTRIBUTES[attribute].held if name in self.directions]
        if not others:
            return normal
        basis, sizes, _ = np.linalg.svd(np.stack(others, axis=1), full_matrices=False)
        basis = basis[:, sizes > _LEAST_LEFT]  # parallel normals span fewer dimensions
        return np.asarray(normal - basis @ (basis.T @ normal))

    def code(self, steps: Mapping[str, float], conditional: bool = False) -> Float:
        """The noise vector `(z_dim,)` some steps from zero along attributes; a step has length 1.

        Raises:
            TintlabError: an attribute is not known.
        """
        way = self.conditional if conditional else self.normal
        total = sum((step * way(name) for name, step in steps.items()), np.zeros(self.z_dim))
        return np.asarray(total, np.float32)


def place(folder: Path) -> Path:
    """The file of a model's directions: in its folder, or beside the pipeline's folder, which belongs to DVC."""
    return (folder.parent if folder.resolve() == paths.GENERATOR.resolve() else folder) / FILE


def load(path: Path, model: Explored) -> Directions:
    """Read the directions of a model.

    Raises:
        TintlabError: the file is missing, damaged, or belongs to another model.
    """
    if not path.exists():
        raise TintlabError(f"{path} is missing: `tintlab explore directions` writes it")
    try:
        found = Directions.model_validate(read_json(path))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise TintlabError(
            f"{path}: {where}: {fault['msg']}: `tintlab explore directions` writes it again"
        ) from None
    if found.weights_sha256 != model.weights_sha256:
        raise TintlabError(
            f"{path} belongs to another model (weights {found.weights_sha256[:16]}, not "
            f"{model.weights_sha256[:16]}): `tintlab explore directions` finds this one's"
        )
    if any(len(direction.normal) != found.z_dim for direction in found.directions.values()):
        raise TintlabError(
            f"{path}: a normal lacks numbers ({found.z_dim} expected): run `tintlab explore directions`"
        )
    return found


def save(path: Path, directions: Directions) -> None:
    """Write the file of a model's directions."""
    write_json(path, directions.model_dump())


def find(model: Explored, photos: Sequence[Subject], codes_a_photo: int, seed: int) -> Directions:
    """Find a model's directions.

    Args:
        model: with noise.
        photos: of the validation or test split. Each gets its own codes.
        codes_a_photo: number of codes for each.
        seed: of the codes and the split.

    Raises:
        TintlabError: the model takes no noise, or no attribute occurs in enough photographs.
    """
    model.require_noise()
    z, found = sample_codes(model.fast(), photos, codes_a_photo, seed)
    fitted = {
        name: direction
        for column, name in enumerate(ATTRIBUTES)
        if (direction := fit_boundary(z, found[..., column], seed)) is not None
    }
    if not fitted:
        raise TintlabError(f"{len(photos)} photographs are too few for directions: raise --photos")
    return Directions(
        weights_sha256=model.weights_sha256,
        z_dim=model.colorizer.z_dim,
        photos=len(photos),
        codes_a_photo=codes_a_photo,
        seed=seed,
        directions=fitted,
    )


def sample_codes(
    colorizer: Colorizer, photos: Sequence[Subject], codes_a_photo: int, seed: int
) -> tuple[Numbers, Numbers]:
    """Draw codes `(photos, codes, z_dim)` and score their colourings, `(photos, codes, attributes)`."""
    z, found = [], []
    for subject in console.progress(photos, "photos", "colouring", len(photos)):
        drawn = noise_vectors.draw(seed, subject.sha256, codes_a_photo, colorizer.z_dim)
        z.append(drawn)
        found.append(scores(subject, colorizer.predict_variants(subject.lightness, drawn)))
    return np.asarray(z, np.float64), np.asarray(found)


def fit_boundary(z: Numbers, values: Numbers, seed: int) -> Direction | None:
    """Fit the direction of an attribute; None if too few photographs have the attribute.

    Args:
        z: codes `(photos, codes, z_dim)`.
        values: of the attribute, `(photos, codes)`; NaN for all codes of a photo that lacks it.
        seed: of the split into photographs for fitting and for testing.
    """
    from sklearn.svm import LinearSVC

    known = np.isfinite(values).all(axis=1)
    z, values = z[known], values[known]
    if len(z) < _LEAST_PHOTOS:
        return None
    order = np.random.default_rng(seed).permutation(len(z))
    held_out = max(1, round(_HELD_OUT * len(z)))
    tried, fitted = (_extremes(z[part], values[part]) for part in (order[:held_out], order[held_out:]))
    machine = LinearSVC(C=_SVM_C, random_state=seed).fit(*fitted)
    normal = machine.coef_[0] / np.linalg.norm(machine.coef_[0])
    return Direction(
        normal=[float(f"{number:.8g}") for number in normal],
        accuracy=float(f"{machine.score(*tried):.6g}"),
        fitted=len(fitted[1]),
        held_out=len(tried[1]),
    )


def _extremes(z: Numbers, values: Numbers) -> tuple[Numbers, Numbers]:
    """The codes `(n, z_dim)` with the lowest and highest values of each photo, and their labels 0 and 1."""
    count = max(1, round(_EXTREME * values.shape[1]))
    ranked = np.argsort(values, axis=1, kind="stable")
    rows = np.arange(len(z))[:, None]
    low, high = z[rows, ranked[:, :count]], z[rows, ranked[:, -count:]]
    ends = [end.reshape(-1, z.shape[2]) for end in (low, high)]
    return np.concatenate(ends), np.repeat([0.0, 1.0], [len(end) for end in ends])
