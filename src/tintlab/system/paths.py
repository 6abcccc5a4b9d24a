"""Where the project's files lie, relative to the checkout."""

import os
from pathlib import Path

from tintlab.system import checkout

PARAMS = Path("params.yaml")
PRESETS = Path("presets")
DVC_FILE = Path("dvc.yaml")
DVC_LOCK = Path("dvc.lock")
CODE_LOCK = Path("code.lock.json")
"""In a project of `tintlab init`: the code that the stages depend on; see `code_lock`."""
DVC_RWLOCKS = (Path(".dvc/tmp/rwlock"), Path(".dvc/tmp/exps/rwlock"))

# sources
STARTER = Path("data/starter-photos.zip")
INBOX = Path("data/inbox")
SOURCES_LOCK = Path("data/sources.lock.json")
PARENT_LOCK = Path("data/parent.lock.json")
ATTRIBUTION_NAME = "ATTRIBUTION.csv"

# fetch, split, validate, convert
RAW = Path("data/raw")
PHOTOS = Path("data/photos.csv")
ATTRIBUTION = Path("data/attribution.csv")
SPLITS = Path("data/splits.csv")
ACCEPTED = Path("data/accepted.csv")
QUARANTINE = Path("reports/quarantine.csv")
VALIDATION_JSON = Path("reports/validation.json")
VALIDATION_PAGE = Path("reports/validation.html")
LAB = Path("data/lab")
LAB_SHARDS = Path("data/.lab.shards")
"""Finished shards of an interrupted convert."""

# train
GENERATOR = Path("models/generator")
WEIGHTS = "generator.safetensors"
LAST_WEIGHTS = "last.safetensors"
MODEL_CONFIG = "config.json"
TRAINING_SUMMARY = "training_summary.json"
DIRECTIONS = "directions.json"
"""Named directions of the noise vector, a file beside the weights; see `explore.directions`."""
LOSSES = Path("reports/losses.csv")
VALIDATION_CURVES = Path("reports/validation_curves.csv")
SAMPLES = Path("reports/samples")

# evaluate
METRICS = Path("reports/metrics.json")
PER_PHOTO = Path("reports/per_photo.csv")
INTERVALS = Path("reports/intervals.csv")
DISTRIBUTIONS = Path("reports/distributions.csv")
REPORT_PAGE = Path("reports/index.html")
SHEET = Path("reports/sheet.jpg")
REFERENCE = Path("reports/reference.csv")
"""The per-photo table that the page compares with; `make reference` renews it."""
PLAIN_UNET = Path("reports/plain_unet.csv")
"""The per-photo table of `tintlab repro --preset plain-unet`, a baseline; committed."""


def state() -> Path:
    """The state folder, absolute: `TINTLAB_STATE`, or `.tintlab/` here. It holds files that are not outputs.

    It need not exist: code that writes there makes it, so commands that only read leave nothing behind.
    """
    return Path(os.environ.get("TINTLAB_STATE") or ".tintlab").absolute()


def lab_squares(split: str) -> Path:
    """The array of L*a*b* squares of one split, `(n, size, size, 3)` uint8; see `lab_shards`."""
    return LAB / f"{split}.npy"


def lab_shards(split: str) -> Path:
    """The list of the files that hold the squares of a split that is too large for one; else there is none."""
    return LAB / f"{split}_shards.json"


def lab_index(split: str) -> Path:
    """The table that says which photograph each square of `lab_squares(split)` was cut from."""
    return LAB / f"{split}.csv"


def lab_summary(split: str) -> Path:
    """The statistics of the photographs of one split; see `statistics.Reference`."""
    return LAB / f"{split}_summary.json"


def tracking_database() -> Path:
    """The default MLflow store."""
    return state() / "mlflow.db"


def tracking_artifacts() -> Path:
    """The default MLflow artifact folder."""
    return state() / "mlartifacts"


def downloaded_models() -> Path:
    """Registered models that were used here, a folder per model, named by a fingerprint of its files."""
    return state() / "models"


def stores() -> Path:
    """Working folders of scorings to object stores, a folder per URL."""
    return state() / "stores"


def converted_models() -> Path:
    """Models as OpenVINO's graphs, a folder per model, named by a hash of its inputs."""
    return state() / "engines"


def registering_lock() -> Path:
    """The lock of a process that registers a model."""
    return state() / "registering.lock"


def spool() -> Path:
    """Records on their way to MLflow."""
    return state() / "spool"


def judged() -> Path:
    """Figures of models that were judged, a file for each model and set of photographs and settings."""
    return state() / "judged"


def verdicts() -> Path:
    """Pages of `tintlab judge`."""
    return state() / "verdicts"


def explored() -> Path:
    """Results of `tintlab explore`, a folder per model, named by its weights."""
    return state() / "explored"


def explored_model(weights_sha256: str) -> Path:
    """The results of `tintlab explore` for the model with these weights."""
    return explored() / weights_sha256[:16]


def checkpoints() -> Path:
    """Unfinished trainings, a folder per fingerprint."""
    return state() / "checkpoints"


def source_copies() -> Path:
    """Copies of the archives that URLs name, a folder per digest; `parts` holds unfinished downloads.

    DVC's temporary copies of the checkout use the checkout's own folder.
    """
    origin = None if os.environ.get("TINTLAB_STATE") else checkout.origin_of_copy()
    return (origin / ".tintlab" if origin else state()) / "sources"


def download_lock() -> Path:
    """The lock of a running download."""
    return state() / "download.lock"


def training_lock() -> Path:
    """The lock of a running training."""
    return state() / "training.lock"


def dvc_lock_copy() -> Path:
    """A copy of the last complete dvc.lock."""
    return _tree_state() / "dvc.lock"


def data_docs() -> Path:
    """Great Expectations' own pages of the last validation."""
    return _tree_state() / "data_docs"


def workspace() -> Path:
    """The clone of the repository in which scheduled retrainings work."""
    return state() / "workspace" / "clone"


def retrain_lock() -> Path:
    """The lock of a running retraining."""
    return state() / "workspace" / "retrain.lock"


def retrain_record() -> Path:
    """The inputs of the last completed retraining, and how often it was repeated."""
    return state() / "workspace" / "retrained.json"


def watch_record() -> Path:
    """The state of the watch for new photographs: what it has seen and reported."""
    return state() / "watch.json"


def services() -> Path:
    """Logs and databases of the services that `tintlab up` starts."""
    return state() / "services"


def _tree_state() -> Path:
    """The state of one working tree; the clone of scheduled retrainings shares all other state."""
    own = workspace().parent
    return own if Path.cwd().is_relative_to(own) else state()
