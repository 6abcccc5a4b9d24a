"""What was found out, kept with the model and told to the MLflow run of its training."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from tintlab.explore import section
from tintlab.explore.model import Explored
from tintlab.explore.section import Section
from tintlab.tracking import delivery, sender, store

_FOLDER = "explore"


def keep(model: Explored, name: str, found: Section, pictures: Sequence[Image.Image]) -> str:
    """Keep a section for the page and log its figures; says where its pictures lie."""
    place = section.folder(model.weights_sha256, name)
    section.keep(place, found, pictures)
    return f"pictures: {place}; {log(model, found.figures, ())}"


def log(model: Explored, figures: dict[str, float], files: Sequence[Path]) -> str:
    """Add figures and files to the run of the training that made a model, if MLflow has one; says so."""
    try:
        known = bool(model.training) and store.store_exists() and delivery.find_run(model.training)
    except store.TrackingUnavailableError as error:
        return f"not logged: {error}"
    if not known:
        return "not logged: MLflow has no run of this model's training"
    with sender.start_recording(model.training) as recorder:
        if figures:
            recorder.summary({f"explore.{name}": value for name, value in figures.items()})
        for file in files:
            recorder.artifact(file, _FOLDER)
    return f"logged to the run of training {model.training}"
