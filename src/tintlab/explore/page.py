"""All that was found out about a model, on one page."""

import base64
from collections.abc import Sequence
from pathlib import Path

import jinja2

from tintlab.explore import record, section
from tintlab.explore.model import Explored
from tintlab.system.files import write_text

FILE = "index.html"


def render(model: Explored, names: Sequence[str]) -> str:
    """The page of the sections that are kept of a model, self-contained."""
    shown = []
    for name in names:
        place = section.folder(model.weights_sha256, name)
        found = section.kept(place)
        if found is not None:
            images = [(caption, _uri(place / file)) for caption, file in found.pictures.items()]
            shown.append({"section": found, "pictures": images})
    pages = jinja2.Environment(
        # A place of its own: the pipeline's stages depend on the other templates.
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(name) for name in ("tintlab.explore", "tintlab.reports")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return pages.get_template("explore.html").render(model=model, sections=shown) + "\n"


def write(model: Explored, names: Sequence[str]) -> tuple[Path, str]:
    """Write the page and log it to the run of the model's training; where it lies, and what became of that."""
    file = section.folder(model.weights_sha256, ".") / FILE
    write_text(file, render(model, names))
    return file, record.log(model, {}, [file])


def _uri(file: Path) -> str:
    kind = "png" if file.suffix == ".png" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file.read_bytes()).decode('ascii')}"
