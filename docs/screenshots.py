"""Pictures for docs/, by headless Chromium: `python docs/screenshots.py [report] [mlflow] [prefect] [retrain]`.

`report` needs the reports of a run in this folder; the others need `make up`, a scored archive, and for
`retrain` a promoted retraining. All four without arguments.
"""

import json
import os
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

PREFECT = os.environ.get("PREFECT_API_URL", "http://127.0.0.1:4200/api").removesuffix("/api")
MLFLOW = os.environ.get("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
TARGET = Path(__file__).parent / "screenshots"
WIDTH, PHONE, QUALITY = 1400, 390, 80
ASSISTANT = 490
"""Pixels at the right of MLflow's pages: its assistant opens there at a first visit, and is cut off."""
SETTLE_MILLISECONDS = {"http": 25_000, "file": 500}


class Shot(NamedTuple):
    """A picture: its name, what it shows, and the window in pixels."""

    name: str
    url: str
    height: int
    width: int = WIDTH


def main() -> None:
    """Take the pictures of the groups that are named, or of all."""
    groups = {
        "report": report_shots,
        "mlflow": mlflow_shots,
        "prefect": prefect_shots,
        "retrain": retrain_shots,
    }
    chromium = shutil.which("chromium") or sys.exit(
        "error: chromium is not installed: apt-get install chromium"
    )
    TARGET.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.getuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        for group in sys.argv[1:] or groups:
            for shot in groups[group]():
                take(browser, shot)
        browser.close()


def take(browser: Browser, shot: Shot) -> None:
    """Take a picture."""
    cut = ASSISTANT if shot.url.startswith(MLFLOW) else 0
    context = browser.new_context(viewport={"width": shot.width + cut, "height": shot.height})
    page = context.new_page()
    page.goto(shot.url)
    page.wait_for_timeout(SETTLE_MILLISECONDS[shot.url[:4]])
    picture = TARGET / f"{shot.name}.webp"
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        page.screenshot(path=file.name)
        taken = Image.open(file.name).convert("RGB").crop((0, 0, shot.width, shot.height))
        taken.save(picture, quality=QUALITY, method=6)
    context.close()
    print(f"{picture} ({picture.stat().st_size // 1000} kB)", flush=True)


def report_shots() -> Iterator[Shot]:
    """The evaluation and the latest verdict, on a desk and on a phone."""
    report = Path("reports/index.html").resolve().as_uri()
    yield Shot("report-desktop", report, 1000)
    yield Shot("report-phone", report, 844, PHONE)
    verdicts = sorted(Path(".tintlab/verdicts").glob("*.html"))
    if verdicts:
        yield Shot("verdict-desktop", verdicts[-1].resolve().as_uri(), 1000)
        yield Shot("verdict-phone", verdicts[-1].resolve().as_uri(), 1400, PHONE)


def mlflow_shots() -> Iterator[Shot]:
    """The latest version with its run and its logged model, and the lists."""
    tracked = f"{MLFLOW}/api/2.0/mlflow"
    experiment = asked(f"{tracked}/experiments/get-by-name?experiment_name=tintlab")["experiment"][
        "experiment_id"
    ]
    named = asked(f"{tracked}/model-versions/search?filter=name%3D%27tintlab%27")["model_versions"]
    version = max(named, key=lambda one: int(one["version"]))
    model = {tag["key"]: tag["value"] for tag in version["tags"]}["tintlab.logged_model"]
    for name, path, height in (
        ("mlflow-runs", f"experiments/{experiment}/runs", 700),
        ("mlflow-models", "models/tintlab", 1300),
        ("mlflow-run", f"experiments/{experiment}/runs/{version['run_id']}", 900),
        ("mlflow-card", f"models/tintlab/versions/{version['version']}", 1000),
        ("mlflow-logged-model", f"experiments/{experiment}/models/{model}", 760),
    ):
        yield Shot(name, f"{MLFLOW}/#/{path}?workflowType=machine_learning", height)


def prefect_shots() -> Iterator[Shot]:
    """The deployments, a form, and the page of the latest scored archive."""
    yield Shot("prefect-deployments", f"{PREFECT}/deployments", 760)
    batch = asked(f"{PREFECT}/api/deployments/name/score/batch")["id"]
    yield Shot("prefect-form", f"{PREFECT}/deployments/deployment/{batch}/run", 1000)
    of_key = {"artifacts": {"key": {"any_": ["score"]}}, "sort": "CREATED_DESC"}
    sheet = asked(f"{PREFECT}/api/artifacts/filter", of_key)[0]
    yield Shot("prefect-score", f"{PREFECT}/artifacts/artifact/{sheet['id']}", 850)


def retrain_shots() -> Iterator[Shot]:
    """The latest retraining that was promoted, and what it published."""
    promoted = {"flow_runs": {"state": {"name": {"any_": ["Promoted"]}}}, "sort": "END_TIME_DESC", "limit": 1}
    runs = asked(f"{PREFECT}/api/flow_runs/filter", promoted)
    if not runs:
        sys.exit("error: no retraining was promoted: `prefect deployment run retrain/manual --watch`")
    of_run = {"artifacts": {"flow_run_id": {"any_": [runs[0]["id"]]}}}
    artifact = {found["key"]: found["id"] for found in asked(f"{PREFECT}/api/artifacts/filter", of_run)}
    yield Shot("prefect-run", f"{PREFECT}/runs/flow-run/{runs[0]['id']}", 1000)
    yield Shot("prefect-page", f"{PREFECT}/artifacts/artifact/{artifact['retrain']}", 1600)
    yield Shot("prefect-stages", f"{PREFECT}/artifacts/artifact/{artifact['retrain-stages']}", 700)


def asked(url: str, body: dict[str, Any] | None = None) -> Any:
    """A server's answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main()
