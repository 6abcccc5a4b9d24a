"""Where each artefact lies, relative to the repository; no other module has a file name in it."""

import os
from pathlib import Path

PARAMS = Path("params.yaml")
PRESETS = Path("presets")
DVC_FILE = Path("dvc.yaml")
DVC_LOCK = Path("dvc.lock")
DVC_RWLOCKS = (Path(".dvc/tmp/rwlock"), Path(".dvc/tmp/exps/rwlock"))

# sources
STARTER = Path("data/starter-photos.zip")
INBOX = Path("data/inbox")
SOURCES_LOCK = Path("data/sources.lock.json")
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

# train
GENERATOR = Path("models/generator")
WEIGHTS = "generator.safetensors"
LAST_WEIGHTS = "last.safetensors"
MODEL_CONFIG = "config.json"
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


def state() -> Path:
    """The folder of everything that is no output: `TINTLAB_STATE`, or `.tintlab/` here. Absolute; created."""
    folder = Path(os.environ.get("TINTLAB_STATE") or ".tintlab").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def lab_squares(split: str) -> Path:
    """The array of L*a*b* squares of one split, `(n, size, size, 3)` uint8."""
    return LAB / f"{split}.npy"


def lab_index(split: str) -> Path:
    """The table that says which photograph each square of `lab_squares(split)` was cut from."""
    return LAB / f"{split}.csv"


def tracking_database() -> Path:
    """The default MLflow store."""
    return state() / "mlflow.db"


def tracking_artifacts() -> Path:
    """The default MLflow artifact folder."""
    return state() / "mlartifacts"


def spool() -> Path:
    """Records on their way to MLflow."""
    return state() / "spool"


def checkpoints() -> Path:
    """Unfinished trainings, a folder a fingerprint."""
    return state() / "checkpoints"


def training_lock() -> Path:
    """Held by the training that is under way."""
    return state() / "training.lock"


def dvc_lock_copy() -> Path:
    """The last whole dvc.lock."""
    return state() / "dvc.lock"


def data_docs() -> Path:
    """Great Expectations' own pages of the last validation."""
    return state() / "data_docs"
