"""`tintlab judge`: two models colour the same test photographs, and the comparison becomes a verdict.

Scores are kept under a hash of everything that decides them: the model's files, the test photographs, the judging
code and network, and the working size. So a champion is judged once, and again only when one of these changes.
A verdict records the same hashes, because it is valid only for them.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import tintlab
from tintlab.evaluation import decision, evaluate
from tintlab.evaluation.decision import Verdict
from tintlab.evaluation.judge import NETWORK, Judge
from tintlab.evaluation.methods import SMALLEST_CATEGORY
from tintlab.gan.efficientnet import weights_file
from tintlab.imaging.color import Byte
from tintlab.imaging.squares import open_squares
from tintlab.inference.base_model import BASE
from tintlab.inference.colorizer import Colorizer
from tintlab.registry import models, verdicts
from tintlab.registry.models import LocatedModel
from tintlab.reports import verdict as verdict_page
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import file_sha256, read_json, write_json, write_text
from tintlab.system.params import Params, load_params
from tintlab.system.tables import read_table
from tintlab.tracking import lineage

EVALUATOR = (
    "evaluation/evaluate.py",
    "evaluation/judge.py",
    "evaluation/methods.py",
    "evaluation/metrics.py",
    "evaluation/summary.py",
    "gan/compact_weights.py",
    "gan/efficientnet.py",
    "gan/guidance.py",
    "gan/hint_maps.py",
    "gan/model_files.py",
    "gan/noise.py",
    "gan/pretrained_unet.py",
    "gan/srgb.py",
    "gan/unet.py",
    "imaging/camera_raw.py",
    "imaging/color.py",
    "imaging/compiled.py",
    "imaging/descan.py",
    "imaging/formats.py",
    "imaging/guards.py",
    "imaging/headers.py",
    "imaging/jxl.py",
    "imaging/kernels.py",
    "imaging/levels.py",
    "imaging/metadata.py",
    "imaging/photos.py",
    "imaging/profiles.py",
    "imaging/samples.py",
    "imaging/tiff.py",
    "imaging/tiff_pages.py",
    "imaging/tiff_pictures.py",
    "imaging/tones.py",
    "inference/colorizer.py",
    "inference/engines.py",
    "inference/guided.py",
    "inference/halves.py",
    "inference/hints.py",
    "inference/openvino_engine.py",
    "inference/palettes.py",
    "inference/torch_engine.py",
    "inference/working_size.py",
    "system/processor.py",
)
"""The modules of this package that decide a figure."""

LIBRARIES = ("torch", "numpy", "scipy", "scikit-image", "pillow")
"""Packages whose versions can change a figure."""


@dataclass(frozen=True)
class Exam:
    """The photographs and conditions by which models are judged.

    Attributes:
        photos: columns `photo`, `cluster` and `category`.
        trial: see `evaluate.Trial`.
        params: all parameters.
        conditions: what decides a figure beside the model, as hashes and plain values.
    """

    photos: pd.DataFrame
    trial: evaluate.Trial
    params: Params
    conditions: dict[str, Any]


@dataclass(frozen=True)
class Scores:
    """The scores of a model, as in `evaluate.Evaluation`, measured now or read from an earlier judgement."""

    per_photo: pd.DataFrame
    totals: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """A verdict on a model.

    Attributes:
        verdict: the decision.
        record: all of it as JSON; see `verdict_record`.
        page: an HTML file that shows it.
        stored: whether it is kept with the registered version; a folder's is not, nor that of a model on itself.
    """

    verdict: Verdict
    record: dict[str, Any]
    page: Path
    stored: bool


def judge(challenger: str = models.CHALLENGER, against: str | None = None) -> Outcome:
    """Judge a model against another, or by the baselines alone where there is no champion.

    Args:
        challenger: see `models.locate`.
        against: likewise; the champion, if there is one, where it is None.

    Raises:
        TintlabError: no such model, no test photographs, or MLflow can't be reached.
    """
    ours = models.locate(challenger)
    theirs = _champion(against)
    exam = load_exam(load_params())
    own = score_model(ours, exam)
    other = score_model(theirs, exam) if theirs else None
    verdict = decision.decide(
        own.per_photo, own.totals, other.per_photo if other else None, exam.params.promotion
    )
    written = verdict_record(verdict, ours, theirs, exam, own, other) | _against_base(exam, own)
    page = paths.verdicts() / f"{ours.version or ours.weights_sha256[:16]}.html"
    gains = decision.gains(own.per_photo, other.per_photo if other else None)
    chosen = verdict_page.changed_most(gains)
    pictured = _pictures([photo for some in chosen.values() for photo in some], ours, theirs, exam)
    write_text(page, verdict_page.verdict_page(written, gains, chosen, pictured))
    # The verdict that made it champion must not be replaced by a comparison with itself.
    stored = ours.version is not None and not (theirs and theirs.version == ours.version)
    if stored and ours.version is not None:
        verdicts.store_verdict(ours.version, written, page)
    return Outcome(verdict, written, page, stored)


def load_exam(params: Params) -> Exam:
    """Load the workspace's test photographs, and everything else that a judgement needs.

    Raises:
        TintlabError: a file of the pipeline is missing.
    """
    accepted = read_table(paths.ACCEPTED)
    photos = accepted[accepted["split"] == "test"].sort_values("photo", ignore_index=True)
    try:
        squares = open_squares("train")
    except FileNotFoundError as error:
        raise TintlabError(f"{error.filename} is missing: run `dvc repro` to make it") from None
    trial = evaluate.Trial(paths.RAW, params.photos.max_megapixels, evaluate.median_ab(squares))
    conditions = {
        "test_photos": _photos_hash(photos),
        "evaluator": evaluator_hash(),
        "judge_weights": _sha256(weights_file(NETWORK)),
        "working_size": params.evaluate.working_size,
        "median_ab": trial.median_ab.tolist(),
    }
    return Exam(photos, trial, params, conditions)


def score_model(model: LocatedModel, exam: Exam) -> Scores:
    """The scores of a model; read from the state folder if it was judged before under the same conditions.

    Raises:
        TintlabError: see `evaluate.evaluate`.
    """
    path = scores_path(model, exam)
    if not path.exists() or _read(path) is None:
        _write(path, _evaluate(model, exam))
    kept = _read(path)
    assert kept is not None
    return kept


def scores_path(model: LocatedModel, exam: Exam) -> Path:
    """Where a model's scores are kept: another file for other weights, config or conditions."""
    key = {"weights": model.weights_sha256, "config": _config_hash(model)} | exam.conditions
    canonical = json.dumps(key, sort_keys=True, separators=(",", ":"))
    return paths.judged() / f"{hashlib.sha256(canonical.encode()).hexdigest()[:32]}.json"


def verdict_record(
    verdict: Verdict,
    ours: LocatedModel,
    theirs: LocatedModel | None,
    exam: Exam,
    own: Scores,
    other: Scores | None,
) -> dict[str, Any]:
    """A verdict as JSON: the decision, its figures, and under `bound` the hashes that it is valid for."""
    bound = {"weights_sha256": ours.weights_sha256, "config_sha256": _config_hash(ours)}
    if theirs:
        bound |= {"champion_weights_sha256": theirs.weights_sha256}
        bound |= {"champion_config_sha256": _config_hash(theirs)}
    groups = decision.by_category(own.per_photo, other.per_photo, SMALLEST_CATEGORY) if other else []
    totals = {"challenger": own.totals} | ({"champion": other.totals} if other else {})
    return {
        "version": ours.version,
        "model": ours.uri,
        "weights_sha256": ours.weights_sha256,
        "champion": theirs.version if theirs else None,
        "champion_model": theirs.uri if theirs else None,
        "champion_weights_sha256": theirs.weights_sha256 if theirs else None,
        "passed": verdict.passed,
        "reasons": list(verdict.reasons),
        "bound": bound | exam.conditions,
        "rules": exam.params.promotion.model_dump(mode="json"),
        "photos": verdict.photos,
        "clusters": verdict.clusters,
        "smallest_difference": verdict.smallest_difference,
        "checks": [asdict(check) for check in verdict.checks],
        "totals": totals,
        "categories": [asdict(group) for group in groups],
    }


def evaluator_hash(package: Path = Path(tintlab.__file__).parent) -> str:
    """sha256 of the code that judges: `EVALUATOR`, and the versions of `LIBRARIES`; wherever the package lies."""
    source = lineage.source_digest(map(Path, EVALUATOR), package)
    versions = [f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES]
    return hashlib.sha256("\n".join([source, *versions]).encode()).hexdigest()


def _champion(against: str | None) -> LocatedModel | None:
    spec = against or models.default_spec()
    return models.locate(spec) if against or spec.startswith("models:") else None


def _against_base(exam: Exam, own: Scores) -> dict[str, Any]:
    """The difference of the first figure from `base`, if `base` was judged before: for the model card."""
    try:
        path = scores_path(models.locate(BASE), exam)
    except TintlabError:  # this installation lacks it
        return {}
    kept = _read(path) if path.exists() else None
    if kept is None:
        return {}
    (gain,) = decision.differences(own.per_photo, kept.per_photo, (decision.PRIMARY,)).values()
    return {"against_base": {"value": gain.mean, "low": gain.low, "high": gain.high}}


def _evaluate(model: LocatedModel, exam: Exam) -> Scores:
    import torch

    torch.set_num_threads(1)  # the other threads are busy measuring
    print(f"judging {model.uri} on {len(exam.photos)} photographs", flush=True)
    colorizer = Colorizer.load(model.folder)
    found = evaluate.evaluate(exam.photos, exam.trial, colorizer, Judge(), exam.params.evaluate)
    return Scores(found.per_photo, found.totals)


def _pictures(
    photos: list[str], ours: LocatedModel, theirs: LocatedModel | None, exam: Exam
) -> dict[str, dict[str, Byte]]:
    """Reduced pictures by photo and by name: grey, champion if there is one, challenger, true."""
    size = exam.params.evaluate.working_size
    challenger = Colorizer.load(ours.folder)
    champion = Colorizer.load(theirs.folder) if theirs else None
    shown = {}
    for photo in photos:
        grey, own, true = evaluate.draw_triptych(photo, exam.trial, challenger, size)
        former = (
            {"champion": evaluate.draw_triptych(photo, exam.trial, champion, size)[1]} if champion else {}
        )
        shown[photo] = {"grey": grey} | former | {"challenger": own, "true": true}
    return shown


def _write(path: Path, scores: Scores) -> None:
    write_json(path, {"totals": scores.totals, "per_photo": scores.per_photo.to_dict("list")})


def _read(path: Path) -> Scores | None:
    """Read kept scores; None if they are damaged."""
    try:
        content = read_json(path)
        return Scores(pd.DataFrame(content["per_photo"]), content["totals"])
    except (TintlabError, KeyError, TypeError, ValueError):
        return None


def _photos_hash(photos: pd.DataFrame) -> str:
    """sha256 of names, contents, clusters and categories."""

    def lines() -> Iterator[str]:
        for photo, cluster, category in photos[["photo", "cluster", "category"]].itertuples(index=False):
            yield json.dumps([photo, _sha256(paths.RAW / photo), cluster, category])

    return hashlib.sha256("\n".join(lines()).encode()).hexdigest()


def _config_hash(model: LocatedModel) -> str:
    return _sha256(model.folder / paths.MODEL_CONFIG)


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except FileNotFoundError:
        raise TintlabError(f"{path} is missing: run `dvc repro` to make it, or restore it") from None
