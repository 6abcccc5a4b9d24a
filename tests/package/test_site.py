"""The documentation: every link leads somewhere, and the site needs no network."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")


def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(repository: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert {"index.html", "pipeline.html", "studio.html"} <= {page.name for page in pages}
    for page in pages:
        loaded = re.findall(r"<(?:script|img|link)[^>]+(?:src|href)=\"(https?:[^\"]+)\"", page.read_text())
        assert loaded == [], page


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs"])
def test_relative_links_lead_to_files(name: str, repository: Path) -> None:
    place = repository / name
    pages = [place] if place.is_file() else list(place.glob("*.md"))
    for page in pages:
        for target in LINK.findall(page.read_text()):
            if not re.match(r"[a-z]+:", target):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
