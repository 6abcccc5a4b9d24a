"""Pictures of both UIs for docs/, by headless Chromium; `make up` runs, an archive was scored."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from PIL import Image

PREFECT = os.environ.get("PREFECT_API_URL", "http://127.0.0.1:4200/api").removesuffix("/api")
MLFLOW = os.environ.get("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
TARGET = Path(__file__).parent / "screenshots"
WIDTH, QUALITY = 1400, 80
ASSISTANT = 490
"""Pixels at the right of MLflow's pages: its assistant opens there at a first visit, and is cut off."""
SETTLE_MILLISECONDS = 20_000

# Without these, Chromium looks up its maker's hosts at every start.
QUIET = [
    "--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-quic", "--hide-scrollbars",
]  # fmt: skip


def main() -> None:
    """Take all pictures."""
    chromium = shutil.which("chromium") or sys.exit(
        "error: chromium is not installed: apt-get install chromium"
    )
    TARGET.mkdir(exist_ok=True)
    for name, (url, height) in pages().items():
        width = WIDTH + (ASSISTANT if url.startswith(MLFLOW) else 0)
        with tempfile.TemporaryDirectory() as folder:
            shot = Path(folder) / "shot.png"
            command = [
                chromium, *QUIET, *(["--no-sandbox"] if os.getuid() == 0 else []),
                f"--user-data-dir={folder}/profile", f"--window-size={width},{height}",
                f"--virtual-time-budget={SETTLE_MILLISECONDS}", f"--screenshot={shot}", url,
            ]  # fmt: skip
            subprocess.run(command, check=True, capture_output=True, timeout=180)
            picture = TARGET / f"{name}.webp"
            Image.open(shot).convert("RGB").crop((0, 0, WIDTH, height)).save(
                picture, quality=QUALITY, method=6
            )
        print(f"{picture} ({picture.stat().st_size // 1000} kB)")


def pages() -> dict[str, tuple[str, int]]:
    """What is pictured: name, address, and height of the window in pixels."""
    promoted = {"flow_runs": {"state": {"name": {"any_": ["Promoted"]}}}, "sort": "END_TIME_DESC", "limit": 1}
    runs = asked(f"{PREFECT}/api/flow_runs/filter", promoted)
    if not runs:
        sys.exit("error: no retraining was promoted: `prefect deployment run retrain/manual --watch`")
    of_run = {"artifacts": {"flow_run_id": {"any_": [runs[0]["id"]]}}}
    artifact = {found["key"]: found["id"] for found in asked(f"{PREFECT}/api/artifacts/filter", of_run)}
    tracked = f"{MLFLOW}/api/2.0/mlflow"
    experiment = asked(f"{tracked}/experiments/get-by-name?experiment_name=tintlab")["experiment"]
    model = asked(f"{tracked}/registered-models/get?name=tintlab")["registered_model"]
    champion = next(one["version"] for one in model["aliases"] if one["alias"] == "champion")
    return {
        "prefect-deployments": (f"{PREFECT}/deployments", 700),
        "prefect-run": (f"{PREFECT}/runs/flow-run/{runs[0]['id']}", 1000),
        "prefect-page": (f"{PREFECT}/artifacts/artifact/{artifact['retrain']}", 1600),
        "prefect-stages": (f"{PREFECT}/artifacts/artifact/{artifact['retrain-stages']}", 700),
        "mlflow-runs": (f"{MLFLOW}/#/experiments/{experiment['experiment_id']}/runs", 700),
        "mlflow-models": (f"{MLFLOW}/#/models/tintlab", 1300),
        "mlflow-champion": (f"{MLFLOW}/#/models/tintlab/versions/{champion}", 700),
    } | latest_pages(tracked, experiment["experiment_id"])


def latest_pages(tracked: str, experiment: str) -> dict[str, tuple[str, int]]:
    """Those of the latest version, its run and its logged model, and of the latest scored archive."""
    named = asked(f"{tracked}/model-versions/search?filter=name%3D%27tintlab%27")["model_versions"]
    version = max(named, key=lambda one: int(one["version"]))
    model = {tag["key"]: tag["value"] for tag in version["tags"]}["tintlab.logged_model"]
    menu = "?workflowType=machine_learning"
    batch = asked(f"{PREFECT}/api/deployments/name/score/batch")["id"]
    sheet = asked(
        f"{PREFECT}/api/artifacts/filter", {"artifacts": {"key": {"any_": ["score"]}}, "sort": "CREATED_DESC"}
    )[0]
    return {
        "mlflow-run": (f"{MLFLOW}/#/experiments/{experiment}/runs/{version['run_id']}{menu}", 900),
        "mlflow-card": (f"{MLFLOW}/#/models/tintlab/versions/{version['version']}{menu}", 1000),
        "mlflow-logged-model": (f"{MLFLOW}/#/experiments/{experiment}/models/{model}{menu}", 760),
        "prefect-form": (f"{PREFECT}/deployments/deployment/{batch}/run", 1000),
        "prefect-score": (f"{PREFECT}/artifacts/artifact/{sheet['id']}", 850),
    }


def asked(url: str, body: dict[str, Any] | None = None) -> Any:
    """A server's answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main()
