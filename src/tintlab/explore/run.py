"""Run one exploration: read its photographs, measure, and save its section."""

from collections.abc import Callable

from tintlab.evaluation.judge import Judge
from tintlab.explore import contrast, directions, dissection, effects, measures, results, section
from tintlab.explore.model import FAST_SIZE, Explored
from tintlab.explore.section import Section
from tintlab.explore.subjects import read_subjects
from tintlab.explore.units import LAYERS

CODES = 32
"""Noise vectors for each photograph when directions are fitted."""

_UNIT_PHOTOS, _STEP_PHOTOS = 60, 24

Saved = tuple[Section, str]
"""A section, and a line that says where it was saved and logged."""


def run_measures(model: Explored, photos: int, seed: int) -> Saved:
    """Measure variety, usefulness and realism of samples on test photographs."""
    subjects = read_subjects(["test"], photos, model.colorizer.settings.working_size)
    command = f"tintlab explore measure --photos {photos} --seed {seed}"
    found, pictures = measures.make_section(measures.measure(model, subjects, Judge(), seed), command)
    return found, results.save(model, "measure", found, pictures)


def run_directions(model: Explored, photos: int, codes: int, seed: int) -> Saved:
    """Fit directions on validation photographs, save them with the model, and measure steps on test photographs.

    Raises:
        TintlabError: the model takes no noise.
    """
    model.require_noise()
    found_on = read_subjects(["val"], photos, FAST_SIZE)
    fitted = directions.find(model, found_on, codes, seed)
    place = directions.place(model.folder)
    directions.save(place, fitted)
    tried_on = read_subjects(["test"], min(photos, _STEP_PHOTOS), FAST_SIZE)
    command = f"tintlab explore directions --photos {photos} --codes {codes} --seed {seed}"
    measured = effects.measure(model, fitted, found_on, tried_on)
    found, pictures = effects.make_section(measured, fitted, command)
    where = results.save(model, "directions", found, pictures)
    results.log(model, {}, [place])
    return found, f"{place}; {where}"


def run_units(model: Explored, photos: int, layers: list[str] | None = None) -> Saved:
    """Dissect the decoder's units on validation and test photographs."""
    subjects = read_subjects(["val", "test"], photos, FAST_SIZE)
    command = f"tintlab explore units --photos {photos}"
    dissected = dissection.measure(model, subjects, layers or LAYERS)
    found, pictures = dissection.make_section(dissected, layers or LAYERS, command)
    return found, results.save(model, "units", found, pictures)


def run_contrast(model: Explored, photos: int) -> Saved:
    """Sweep contrast and brightness of test photographs."""
    subjects = read_subjects(["test"], photos, model.colorizer.settings.working_size)
    command = f"tintlab explore contrast --photos {photos}"
    found, pictures = contrast.make_section(contrast.measure(model.colorizer, subjects), command)
    return found, results.save(model, "contrast", found, pictures)


def run_all(model: Explored, photos: int, seed: int, again: bool) -> list[str]:
    """Run the explorations that have no saved section for this model, or all with `again`; their names."""
    runs: dict[str, Callable[[], Saved]] = {
        "measure": lambda: run_measures(model, photos, seed),
        "directions": lambda: run_directions(model, photos, CODES, seed),
        "units": lambda: run_units(model, min(photos, _UNIT_PHOTOS)),
        "contrast": lambda: run_contrast(model, photos),
    }
    if not model.colorizer.z_dim:
        del runs["directions"]
    for name, run in runs.items():
        if again or section.load_section(section.folder(model.weights_sha256, name)) is None:
            run()
    return list(runs)
