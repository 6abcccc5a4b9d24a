"""Pictures of both UIs for docs/, by headless Chromium; `make up` runs, and a retraining has come to its end."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

PREFECT = os.environ.get("PREFECT_API_URL", "http://127.0.0.1:4200/api").removesuffix("/api")
MLFLOW = os.environ.get("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
TARGET = Path(__file__).parent / "screenshots"
SETTLE_MILLISECONDS = 15_000

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
        with tempfile.TemporaryDirectory() as profile:
            command = [
                chromium, *QUIET, *(["--no-sandbox"] if os.getuid() == 0 else []),
                f"--user-data-dir={profile}", f"--window-size=1400,{height}",
                f"--virtual-time-budget={SETTLE_MILLISECONDS}", f"--screenshot={TARGET / f'{name}.png'}", url,
            ]  # fmt: skip
            subprocess.run(command, check=True, capture_output=True, timeout=180)
        print(TARGET / f"{name}.png")


def pages() -> dict[str, tuple[str, int]]:
    """What is pictured: name, address, and height of the window in pixels."""
    done = {"flow_runs": {"state": {"name": {"any_": ["Promoted", "NotPromoted"]}}}, "sort": "END_TIME_DESC"}
    runs = asked("flow_runs/filter", done | {"limit": 1})
    if not runs:
        sys.exit("error: no retraining has come to its end: `prefect deployment run retrain/manual --watch`")
    of_run = {"artifacts": {"flow_run_id": {"any_": [runs[0]["id"]]}}}
    artifact = {found["key"]: found["id"] for found in asked("artifacts/filter", of_run)}
    return {
        "prefect-deployments": (f"{PREFECT}/deployments", 800),
        "prefect-run": (f"{PREFECT}/runs/flow-run/{runs[0]['id']}", 1000),
        "prefect-page": (f"{PREFECT}/artifacts/artifact/{artifact['retrain']}", 1600),
        "prefect-stages": (f"{PREFECT}/artifacts/artifact/{artifact['retrain-stages']}", 700),
        "mlflow-runs": (f"{MLFLOW}/#/experiments/1", 800),
        "mlflow-models": (f"{MLFLOW}/#/models/tintlab", 800),
    }


def asked(path: str, body: dict[str, Any]) -> Any:
    """Prefect's answer."""
    request = urllib.request.Request(
        f"{PREFECT}/api/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main()
