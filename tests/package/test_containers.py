"""The images and compose.yaml: linted, pinned and complete; test_image_commands.py runs what they run."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from pathspec import PathSpec

VARIABLE = re.compile(r"\$\{(\w+)(:[-?])?([^}]*)\}")


@pytest.fixture(scope="module")
def compose(repository: Path) -> dict[str, Any]:
    """What compose.yaml says, with its variables as they are."""
    read: dict[str, Any] = yaml.safe_load((repository / "compose.yaml").read_text())
    return read


def test_the_linters_have_nothing_to_say(repository: Path) -> None:
    programs = Path(sys.executable).parent
    schema = [programs / "check-jsonschema", "--builtin-schema"]
    for command in (
        [programs / "hadolint", "Dockerfile"],
        [*schema, "vendor.compose-spec", "compose.yaml"],
        [*schema, "vendor.github-workflows", *(repository / ".github" / "workflows").glob("*.yaml")],
    ):
        done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_images_are_pinned_and_ours_have_the_packages_version(
    repository: Path, compose: dict[str, Any]
) -> None:
    version = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["version"]
    stages = re.findall(r"^FROM (\S+) AS (\w+)$", (repository / "Dockerfile").read_text(), re.MULTILINE)
    names = {name for _, name in stages}
    assert len({image for image, _ in stages if image not in names}) == 1
    images = [service["image"] for service in compose["services"].values()]
    for image in [*images, *(image for image, _ in stages if image not in names)]:
        name, _, tag = image.partition(":")
        assert tag == version if name.startswith("tintlab-") else re.match(r"v?\d+\.\d+", tag), image
    targets = {one["build"]["target"] for one in compose["services"].values() if "build" in one}
    assert targets <= names
    assert stages[-1][1] == "studio"


def test_a_missing_variable_has_a_line_that_says_what_to_give(repository: Path) -> None:
    """Compose prints `required variable NAME is missing a value: MESSAGE` for `${NAME:?MESSAGE}`."""
    required = set()
    for name, kind, message in VARIABLE.findall((repository / "compose.yaml").read_text()):
        assert kind in (":?", ":-"), f"{name} would be empty without a word"
        if kind == ":?":
            required.add(name)
            assert message.endswith("in .env") or ".env," in message
    guide = (repository / "docs" / "deploy.md").read_text()
    assert set(re.findall(r"^(TINTLAB_\w+)=", guide, re.MULTILINE)) == required


def test_only_the_studio_can_be_opened_to_other_machines(compose: dict[str, Any]) -> None:
    """MLflow's and Prefect's servers ask nobody who they are."""
    for name, service in compose["services"].items():
        for port in service.get("ports", []):
            start = "${TINTLAB_STUDIO_LISTEN:-127.0.0.1}:" if name == "studio" else "127.0.0.1:"
            assert port.startswith(start)


def test_the_build_sees_all_that_the_wheel_needs_and_no_more(repository: Path) -> None:
    ignored = PathSpec.from_lines("gitignore", (repository / ".dockerignore").read_text().splitlines())
    listed = (repository / "src" / "tintlab" / "system" / "project" / "FILES").read_text().split()
    needed = [path for pattern in listed for path in repository.glob(pattern) if path.is_file()]
    needed += (repository / "src").rglob("*.py")
    needed += [repository / name for name in ("constraints.txt", "pyproject.toml", "setup.py", "README.md")]
    assert [path for path in needed if ignored.match_file(path.relative_to(repository))] == []
    for name in (
        ".git/config",
        ".venv/bin/python",
        ".tintlab/mlflow.db",
        "data/raw/a.jpg",
        "data/inbox/a.jpg",
    ):
        assert ignored.match_file(name), name
