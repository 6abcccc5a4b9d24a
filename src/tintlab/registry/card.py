"""The model card of a version: Markdown for its description in MLflow, and for `card.md` among its files."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tintlab.registry.history import MODEL_NAME
from tintlab.reports.measures import Measure, measure_of, number
from tintlab.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

LONGEST = 5000
"""Letters that MLflow takes as a description."""

CARD = "card.md"

_FIGURES = ("judge_similarity", "psnr", "ssim", "delta_e00", "colourfulness", "judge_kernel_distance")
_COLUMNS = (
    ("champion, version {}", "champion", "model"),
    ("base", "base", "model"),
    ("grey", "challenger", "grey"),
)
"""Beside the version's own figures: the title, and whose totals of which method."""
_PARAMS = ("generator", "init_from", "epochs", "iterations_per_epoch", "image_size", "z_dim", "hints")
_SHEET = "evaluation/sheet.jpg"
_CALL = """## How to call it
A table with the column `image`: the bytes of a photograph's own file, as base64 in JSON. Back come the
bytes of a PNG in 8-bit sRGB, of the same width and height. Parameters: `size` (the network's input is about
this squared, 32 to 1024), `saturation` (factor on the colours, 1 as learnt), `variants` (so many colourings
of each, 0 is one without noise) and `seed` (of that noise)."""
_LIMITS = """## Limits
The colours are plausible, not true: nothing in a grey photograph tells the colour of a dress or a flag. Do
not take them as evidence. Photographs unlike those of the training come out dull or wrong; `tintlab drift`
warns. Small faces, text and uniform surfaces are where it fails most."""
_LICENCE = """## Licence
Code and weights: Apache-2.0. The photographs keep their own licences: `data/attribution.csv` of the
training's commit."""


def write(
    client: "MlflowClient", version: "ModelVersion", state: str, verdict: Mapping[str, Any] | None
) -> str:
    """Write the card of a version into its files, and return it as its description.

    Args:
        client: of MLflow.
        version: as the registry knows it.
        state: the first line: whether it was judged, with a link.
        verdict: see `verdicts.read_verdict`; None before it was judged.
    """
    run = client.get_run(str(version.run_id))
    text = compose(version, run, state, verdict)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / CARD
        file.write_text(text, encoding="utf-8")
        client.log_artifact(run.info.run_id, str(file), f"registered/{_folder(version)}")
    return text


def compose(version: "ModelVersion", run: "Run", state: str, verdict: Mapping[str, Any] | None) -> str:
    """The card as Markdown, of at most `LONGEST` letters."""
    params = {name: run.data.params.get(f"train.{name}") for name in _PARAMS}
    known = ", ".join(f"{name} {value}" for name, value in params.items() if value not in (None, "None"))
    parts = [
        state,
        f"# {MODEL_NAME} {version.version}: grey photographs in, colour out",
        "A conditional GAN on CIE L\\*a\\*b\\*: a U-Net predicts colour from lightness, a PatchGAN judges it."
        + (f" Training: {known}." if known else ""),
        "\n".join(["## Figures", *_figures(version, verdict)]),
        "\n".join(["## Data", *_data(run)]),
        *_pictures(run),
        _LIMITS,
        "\n".join(["## Lineage", *_lineage(version, run)]),
        _CALL,
        _LICENCE,
    ]
    text = "\n\n".join(parts)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _folder(version: "ModelVersion") -> str:
    return str(version.source).rpartition("/")[2]


def _figures(version: "ModelVersion", verdict: Mapping[str, Any] | None) -> Iterator[str]:
    if verdict is None or not verdict.get("totals"):
        known = {key: version.tags.get(f"test.model.{key}") for key in _FIGURES}
        shown = [f"{measure_of(key).name} {float(value):.4g}" for key, value in known.items() if value]
        yield ", ".join(shown) or "Not judged yet: `tintlab judge` compares it with the champion."
        return
    totals: Mapping[str, Any] = verdict["totals"]
    others = [
        (title.format(verdict["champion"]), totals[who][method])
        for title, who, method in _COLUMNS
        if method in totals.get(who, {})
    ]
    yield f"On {verdict['photos']} test photographs; differences with their 95 % intervals."
    yield ""
    yield f"| measure | this version | {' | '.join(name for name, _ in others)} | difference to the champion |"
    yield "| --- | ---: |" + " ---: |" * (len(others) + 1)
    spreads = {one["figure"]: one for one in verdict["checks"] if one["against"] == "champion"}
    for key in _FIGURES:
        measure = measure_of(key)
        values = [totals["challenger"]["model"].get(key), *(found.get(key) for _, found in others)]
        cells = [number(value, measure) for value in values]
        yield f"| {_title(measure, key)} | {' | '.join(cells)} | {_spread(spreads.get(key), measure)} |"
    for one in verdict["checks"]:
        if one["against"] == "grey" and one["low"] is not None:
            yield f"\n{one['sentence'][:1].upper()}{one['sentence'][1:]}."
    if found := verdict.get("against_base"):
        measure = measure_of("judge_similarity")
        yield f"\nSimilarity changes against base by {_spread(found, measure)}."


def _title(measure: Measure, key: str) -> str:
    return f"{measure.name}{f', {measure.unit}' if measure.unit else ''} (`{key}`)"


def _spread(found: Mapping[str, Any] | None, measure: Measure) -> str:
    if found is None or found.get("low") is None:
        return ""
    middle, low, high = (number(found[name], measure, signed=True) for name in ("value", "low", "high"))
    return f"{middle} ({low} to {high})"


def _data(run: "Run") -> Iterator[str]:
    inputs = run.inputs.dataset_inputs if run.inputs else []
    for one in sorted(inputs, key=lambda found: str(found.dataset.name)):
        profile = json.loads(one.dataset.profile or "{}")
        kinds = profile.get("categories", {})
        named = ", ".join(f"{name or 'others'} {count}" for name, count in list(kinds.items())[:6])
        count, digest = profile.get("photographs", "?"), one.dataset.digest
        yield f"- {one.dataset.name}: {count} photographs ({named}), DVC `{digest}`"
    if not inputs:
        yield "Not recorded with this run."


def _pictures(run: "Run") -> list[str]:
    link = f"get-artifact?path={_SHEET}&run_uuid={run.info.run_id}"
    return [f"## Pictures\n![test photographs: grey, coloured, true]({link})"] if run.data.params else []


def _lineage(version: "ModelVersion", run: "Run") -> Iterator[str]:
    link = store.ui_page(f"experiments/{run.info.experiment_id}/runs/{run.info.run_id}")
    tags = {**run.data.tags, **version.tags}
    yield f"- training: [run {run.info.run_id[:8]}]({link}), fingerprint `{tags.get('tintlab.fingerprint', '')}`"
    if commit := tags.get("git.commit"):
        changed = " with uncommitted changes" if tags.get("git.dirty") == "true" else ""
        yield f"- code: commit `{commit[:12]}`{changed}"
    if model := tags.get("dvc.models/generator"):
        yield f"- model in DVC: `{model}`"
    if parent := tags.get("parent"):
        yield f"- started from: `{parent}`"
    yield f"- weights: sha256 `{tags.get('tintlab.weights_sha256', '')[:16]}`"
