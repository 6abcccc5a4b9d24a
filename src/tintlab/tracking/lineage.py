"""Describe the origin of a result: hashes of its inputs, the state of the git repository, and versions."""

import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tintlab.system import code_lock, paths
from tintlab.system.errors import TintlabError, outside_project
from tintlab.system.programs import read_output

SOURCE = Path("src")
DECIDING = (SOURCE, paths.PARAMS, paths.DVC_FILE)
"""Files that a person edits. Outputs and dvc.lock follow from them, so they don't make a repository dirty."""

MAX_PATCH_BYTES = 1_000_000

PACKAGES = (
    "tintlab",
    "torch",
    "dvc",
    "mlflow",
    "prefect",
    "pandas",
    "numpy",
    "scikit-image",
    "pillow",
    "great-expectations",
)

_CHUNK = 1 << 20
_GIT_SECONDS = 30


@dataclass(frozen=True)
class StageInputs:
    """The files that dvc.yaml lists as a stage's dependencies."""

    sources: tuple[Path, ...]
    """Python modules."""
    data: tuple[Path, ...]
    """Everything else."""


@dataclass(frozen=True)
class GitState:
    """The state of a repository at one moment; all fields are empty outside a repository or without git."""

    commit: str = ""
    branch: str = ""
    """Empty on a detached head."""
    dirty: bool = False
    """Source, params.yaml or dvc.yaml differ from the commit."""
    patch: str = ""
    """The difference as `git apply` reads it, after a comment per new file; cut off at `MAX_PATCH_BYTES`."""


def fingerprint(parts: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that identify these parts; the order of their keys does not matter.

    64 bits make a short folder name and tag. Among a million trainings, the chance that two share a
    fingerprint is 3e-8 (n²/2 · 2⁻⁶⁴).

    Args:
        parts: values that JSON can represent; NaN and infinities are refused.
    """
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def training_inputs(
    params: Mapping[str, Any],
    data: Iterable[Path],
    sources: Iterable[Path],
    torch_version: str,
    threads: int,
) -> dict[str, Any]:
    """The inputs that decide a training's result; their `fingerprint` identifies the training.

    On one CPU model, equal fingerprints mean equal bytes. The CPU itself is left out, as in DVC's cache: a
    training that is restored on another machine is still the same training.

    Args:
        params: the parameters that matter; leave out those that change no result.
        data: files and folders that are read; see `stage_inputs`.
        sources: the modules that the training runs.
        torch_version: as `torch.__version__` gives it.
        threads: CPU threads of torch; sums are split among them.

    Raises:
        TintlabError: a file is missing.
    """
    return {
        "params": dict(params),
        "data": data_hashes(data),
        "source": source_digest(sources),
        "torch": torch_version,
        "threads": threads,
    }


def stage_inputs(stage: str, dvc_file: Path = paths.DVC_FILE) -> StageInputs:
    """The dependencies that dvc.yaml lists for a stage; for the code of a project, see `code_lock`.

    Raises:
        TintlabError: dvc.yaml is missing, is no YAML, or has no such stage.
    """
    try:
        content = YAML(typ="safe").load(dvc_file)
        dependencies = [Path(_dependency_path(entry)) for entry in content["stages"][stage].get("deps", [])]
    except FileNotFoundError:
        raise outside_project(dvc_file) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise TintlabError(f"{dvc_file} is not readable YAML: {error}") from None
    except (KeyError, TypeError, AttributeError):
        raise TintlabError(f"{dvc_file} has no stage {stage!r} with dependencies: restore the file") from None
    installed = map(Path, code_lock.stage_sources().get(stage, ()) if code_lock.is_used() else ())
    return StageInputs(
        sources=tuple(path for path in (*dependencies, *installed) if path.suffix == ".py"),
        data=tuple(path for path in dependencies if path.suffix != ".py"),
    )


def source_digest(files: Iterable[Path], root: Path | None = None) -> str:
    """sha256 of names and contents of source files, in any order, 64 hexadecimal digits.

    Args:
        files: relative to `root`.
        root: where they lie; it does not enter the digest. None: this project's source, see `code_lock`.

    Raises:
        TintlabError: a file is missing.
    """
    is_elsewhere = root is None and code_lock.is_used()
    found = {path: code_lock.locate(path) if is_elsewhere else (root or Path()) / path for path in files}
    lines = sorted(f"{_file_hash(place, 'sha256')}  {path.as_posix()}\n" for path, place in found.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def data_hashes(files_and_folders: Iterable[Path]) -> dict[str, str]:
    """The content hash of each file and folder, as dvc.lock spells it, keyed by its path.

    Raises:
        TintlabError: one is missing.
    """
    return {path.as_posix(): dvc_hash(path) for path in files_and_folders}


def dvc_hash(path: Path) -> str:
    """DVC's hash of a file (md5), or of a folder (md5 of its sorted list of files, with `.dir` added).

    Raises:
        TintlabError: there is nothing at `path`.
    """
    if not path.is_dir():
        return _file_hash(path, "md5")
    files = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
    listing = [{"md5": _file_hash(file, "md5"), "relpath": name} for name, file in files]
    return (
        hashlib.md5(json.dumps(listing, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"
    )


def is_committed(folder: Path = Path()) -> bool:
    """Whether a folder lies in a git repository that has a commit."""
    return bool(_git(folder, "rev-parse", "--verify", "HEAD"))


def git_state(repository: Path = Path()) -> GitState:
    """The commit, and the differences from it in source, params.yaml and dvc.yaml.

    Without git, outside a repository and before the first commit, the unknown fields are empty; nothing is
    raised.
    """
    files = [path.as_posix() for path in DECIDING]
    commit = _git(repository, "rev-parse", "--verify", "HEAD").strip()
    with _old_index(repository) as index:
        changes = _git(
            repository, "status", "--porcelain", "-z", "--untracked-files=all", "--", *files, index=index
        )
        new_files = [entry[3:] for entry in changes.split("\0") if entry.startswith("?? ")]
        patch = "".join(f"# not in git: {name}\n" for name in new_files)
        if commit:
            plain = ["--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/"]
            patch += _git(repository, "diff", *plain, "HEAD", "--", *files, index=index)
    return GitState(
        commit=commit,
        branch=_git(repository, "branch", "--show-current").strip(),
        dirty=bool(changes),
        patch=_capped(patch),
    )


def experiment_tags() -> dict[str, str]:
    """Baseline commit and name of the experiment, if `dvc exp run` started this process; otherwise empty."""
    variables = {"dvc.baseline": "DVC_EXP_BASELINE_REV", "dvc.experiment": "DVC_EXP_NAME"}
    return {tag: os.environ[name] for tag, name in variables.items() if os.environ.get(name)}


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results can depend on, and the CPU model."""
    found = {"python": platform.python_version(), "cpu": cpu_model()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def cpu_model() -> str:
    """The model name of the CPU, such as `AMD EPYC 7B13`."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def run_tags(git: GitState, inputs: Mapping[str, str]) -> dict[str, str]:
    """Git state, inputs and versions as tags of a tracked run.

    Args:
        git: see `git_state`.
        inputs: see `data_hashes`.
    """
    tags = {"git.commit": git.commit, "git.branch": git.branch, "git.dirty": str(git.dirty).lower()}
    # MLflow's pages show the commit under this name.
    tags["mlflow.source.git.commit"] = git.commit
    tags |= experiment_tags()
    tags |= {f"input.{path}": value for path, value in inputs.items()}
    tags |= {f"version.{name}": value for name, value in versions().items()}
    return {name: value for name, value in tags.items() if value}


def _dependency_path(entry: str | Mapping[str, Any]) -> str:
    """A dependency is a path, or a mapping of one path to its settings."""
    return entry if isinstance(entry, str) else next(iter(entry))


def _file_hash(path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except FileNotFoundError:
        raise TintlabError(f"{path} is missing: run `dvc repro` to make it, or restore it") from None
    return digest.hexdigest()


@contextmanager
def _old_index(repository: Path) -> Iterator[Path | None]:
    """A copy of git's index that is older than all files, so that git compares their contents; None without one.

    Otherwise git trusts sizes and times. It would then miss a change by `dvc exp run -S` that keeps the size
    of params.yaml, because DVC writes the file and the index within one tick of the clock.
    """
    index = repository / _git(repository, "rev-parse", "--git-path", "index").strip()
    if not index.is_file():
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copyfile(index, Path(folder) / "index"))
        os.utime(copy, (1, 1))
        yield copy


def _git(repository: Path, *arguments: str, index: Path | None = None) -> str:
    """Run git and return its output, or nothing if it fails; takes no lock that could block another git."""
    own_index = {"GIT_INDEX_FILE": str(index)} if index else {}
    try:
        return read_output(
            ["git", "-c", "core.quotePath=false", *arguments],
            repository,
            os.environ | {"GIT_OPTIONAL_LOCKS": "0"} | own_index,
            _GIT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return ""


def _capped(patch: str) -> str:
    data = patch.encode()
    if len(data) <= MAX_PATCH_BYTES:
        return patch
    kept = data[:MAX_PATCH_BYTES].decode("utf-8", "ignore")
    return f"{kept}\n# cut off: {len(data) - MAX_PATCH_BYTES} bytes more\n"
