"""`tintlab sheet`: a contact sheet of test photographs, coloured by a model."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from tintlab.evaluation.evaluate import Trial, draw_triptych
from tintlab.inference.colorizer import Colorizer
from tintlab.registry import models
from tintlab.reports import plots
from tintlab.sources import archives
from tintlab.stages.split import split_of
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_path
from tintlab.system.params import load_params
from tintlab.system.tables import read_table


def make_sheet(output: Path, spec: str | None, count: int) -> str:
    """Colour the first test photographs by name, which are not hand-picked.

    After a run of the pipeline they are its test photographs; before, the starter set's future test photographs.

    Args:
        output: a JPEG file.
        spec: see `models.locate`; None is the champion, or `base` where there is none.
        count: how many photographs, at most.

    Returns:
        A line that names the file, the model and how many photographs it coloured.

    Raises:
        TintlabError: no such model, or no test photographs.
    """
    located = models.locate(spec or models.default_spec())
    colorizer = Colorizer.load(located.folder)
    limit = load_params().photos.max_megapixels
    with _test_photos(count) as (folder, names):
        trial = Trial(folder, limit, np.zeros(2, np.float32))
        triptychs = [draw_triptych(name, trial, colorizer, None) for name in names]
    if not triptychs:
        raise TintlabError("there are no test photographs: raise split.test in params.yaml")
    with atomic_path(output) as temporary:
        plots.contact_sheet(triptychs).save(temporary, format="JPEG", quality=88, subsampling=0)
    return f"{output}: the first {len(triptychs)} test photographs by name, coloured by {located.name}"


@contextmanager
def _test_photos(count: int) -> Iterator[tuple[Path, list[str]]]:
    """A folder, and the names of the photographs in it that are to be coloured."""
    if paths.ACCEPTED.exists() and paths.RAW.exists():
        accepted = read_table(paths.ACCEPTED)
        yield paths.RAW, sorted(accepted[accepted["split"] == "test"]["photo"])[:count]
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary), list(_unpack_starter(Path(temporary), count))


def _unpack_starter(folder: Path, count: int) -> Iterator[str]:
    """Write the first test photographs of the starter set into a folder; their names."""
    params, known, left = load_params().split, Image.registered_extensions(), count
    for member in archives.read_members(paths.STARTER):
        digest = hashlib.sha256(member.data).hexdigest()
        if left and member.name.suffix.lower() in known and split_of(digest, params) == "test":
            (folder / member.name.name).write_bytes(member.data)
            yield member.name.name
            left -= 1
