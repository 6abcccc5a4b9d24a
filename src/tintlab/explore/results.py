"""Results of explorations: saved with the model, logged to the MLflow run of its training, shown on one page."""

import base64
from collections.abc import Sequence
from pathlib import Path

import jinja2
from PIL import Image

from tintlab.explore import section
from tintlab.explore.model import Explored
from tintlab.explore.section import Section
from tintlab.system.files import write_text
from tintlab.tracking import delivery, sender, store

PAGE = "index.html"

_ARTIFACTS = "explore"  # folder of the run's artifacts


def save(model: Explored, name: str, found: Section, pictures: Sequence[Image.Image]) -> str:
    """Save a section for the page and log its figures. Returns a line with the folder and the run."""
    place = section.folder(model.weights_sha256, name)
    section.save_section(place, found, pictures)
    return f"pictures: {place}; {log(model, found.figures, ())}"


def log(model: Explored, figures: dict[str, float], files: Sequence[Path]) -> str:
    """Add figures and files to the run of the model's training, if MLflow has one. Returns a line about it."""
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
            recorder.artifact(file, _ARTIFACTS)
    return f"logged to the run of training {model.training}"


def write_page(model: Explored, names: Sequence[str]) -> tuple[Path, str]:
    """Write the page and log it to the run of the model's training. Returns its path and a line about the log."""
    file = section.folder(model.weights_sha256, ".") / PAGE
    write_text(file, render(model, names))
    return file, log(model, {}, [file])


def render(model: Explored, names: Sequence[str]) -> str:
    """Render the saved sections of a model as a self-contained page."""
    shown = []
    for name in names:
        place = section.folder(model.weights_sha256, name)
        found = section.load_section(place)
        if found is not None:
            images = [(caption, _uri(place / file)) for caption, file in found.pictures.items()]
            shown.append({"section": found, "pictures": images})
    pages = jinja2.Environment(
        # Its own folder, so that no stage depends on this template.
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(name) for name in ("tintlab.explore", "tintlab.reports")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return pages.get_template("explore.html").render(model=model, sections=shown) + "\n"


def _uri(file: Path) -> str:
    kind = "png" if file.suffix == ".png" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file.read_bytes()).decode('ascii')}"
