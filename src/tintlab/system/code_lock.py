"""Record the installed package's code in code.lock.json, so that DVC notices when a project's code changes.

In the repository, DVC's stages depend on source files. A project of `tintlab init` has no source files. There
each stage depends on one value in code.lock.json: the digest of the same modules in the installed package.
`tintlab repro` updates the file. After an upgrade, DVC therefore runs only the stages whose code has changed,
and the stages that depend on their outputs.
"""

import functools
import hashlib
import importlib.metadata
import re
from pathlib import Path

from ruamel.yaml import YAML

from tintlab.system import checkout, paths, project_files
from tintlab.system.errors import TintlabError
from tintlab.system.files import file_sha256, read_json, write_json

VERSION = "tintlab"
"""The key of the package's version. It is there for readers; no stage depends on it."""

_SOURCE = "src/tintlab/"
_HEAD = (
    "# What is built from what. A stage depends on its modules of the installed package by their digest in\n"
    "# code.lock.json, which `tintlab repro` renews.\n"
)


def is_used() -> bool:
    """Whether the present folder is a project whose code is the installed package."""
    return paths.CODE_LOCK.exists()


@functools.cache
def stage_sources() -> dict[str, tuple[str, ...]]:
    """The source files that each stage depends on, named as in the repository: `src/tintlab/…`."""
    stages = YAML(typ="safe").load(project_files.root() / paths.DVC_FILE)["stages"]
    return {
        name: tuple(dep for dep in stage["deps"] if dep.startswith(_SOURCE)) for name, stage in stages.items()
    }


def locate(path: Path) -> Path:
    """The file of the package in use that the repository names `src/tintlab/…`; any other path as it is."""
    name = path.as_posix()
    return checkout.code_in_use() / name.removeprefix(_SOURCE) if name.startswith(_SOURCE) else path


def compute() -> dict[str, str]:
    """The content of code.lock.json for the package in use: its version, and a digest of 64 digits per stage."""
    digests = {stage: _digest(names) for stage, names in stage_sources().items()}
    return {VERSION: importlib.metadata.version("tintlab")} | digests


def refresh() -> str:
    """Record the package in use in code.lock.json. Returns a line about it, or nothing if it is recorded."""
    now = compute()
    before = read_json(paths.CODE_LOCK)
    if now == before:
        return ""
    write_json(paths.CODE_LOCK, now)
    changed = [stage for stage in stage_sources() if before.get(stage) != now[stage]]
    stages = ", ".join(changed) or "no stage"
    return f"recorded tintlab {now[VERSION]} in {paths.CODE_LOCK}: changed code of {stages}"


def stale_stages() -> list[str]:
    """The stages for which code.lock.json records other code than the package in use; empty elsewhere."""
    if not is_used():
        return []
    recorded, now = read_json(paths.CODE_LOCK), compute()
    return [stage for stage in stage_sources() if recorded.get(stage) != now[stage]]


def refuse_stale() -> None:
    """Refuse to run a stage with other code than DVC tracks as its dependency.

    Raises:
        TintlabError: code.lock.json records other code.
    """
    if stale_stages():
        queued = "the code has changed since the experiment was queued: queue it again"
        advice = queued if checkout.origin_of_copy() else "run `tintlab repro`, which records it"
        raise TintlabError(f"{paths.CODE_LOCK} records other code than the installed tintlab: {advice}")


def dvc_yaml(text: str) -> str:
    """The dvc.yaml of a project: the repository's, with one digest in place of each stage's source files."""
    lines, stage = [], ""
    for line in text[text.index("stages:\n") :].splitlines(keepends=True):
        if found := re.fullmatch(r"  (\w+):\n", line):
            stage = found[1]
        if line.startswith(f"      - {_SOURCE}"):
            continue
        lines.append(line)
        if line == "    params:\n":
            lines.append(f"      - {paths.CODE_LOCK}:\n          - {stage}\n")
    return _HEAD + "".join(lines)


def _digest(names: tuple[str, ...]) -> str:
    lines = [f"{file_sha256(locate(Path(name)))}  {name}\n" for name in sorted(names)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
