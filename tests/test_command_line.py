"""The program as someone new types it: help, completion, misspelt names, messages of a bearable length."""

import ast
import importlib.metadata
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.scoring.conftest import make_model
from tintlab.cli import app
from tintlab.gan.losses import METERS
from tintlab.inference.base_model import base_folder
from tintlab.reports.training import Reporter
from tintlab.system import console, entry_point, paths
from tintlab.system.errors import TintlabError
from tintlab.system.params import Params
from tintlab.tracking.recorder import Recorder

LONGEST = 200
PLACEHOLDER = 24
"""Letters that a value in a message counts for: a name, a number, a short path."""

RAISERS = ("Error", "say", "warn", "print")

Run = Callable[..., tuple[int, str]]


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(repository / "presets", "presets")


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs `tintlab …` as its entry point does; the status, and what it printed on stderr."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["tintlab", *arguments])
        status: object = 0
        try:
            entry_point.run(app)
        except SystemExit as end:
            status = end.code
        said = capsys.readouterr().err
        if isinstance(status, str):  # Python prints it on stderr, and the status is 1
            return 1, f"{said}{status}\n"
        return int(str(status or 0)), said

    return run


def faulty(answer: tuple[int, str]) -> str:
    """The only line of a program that refused something."""
    status, said = answer
    assert status == 1
    assert said.count("\n") == 1 and said.startswith("error: ") and len(said) <= LONGEST + len("error: \n")
    return said.removeprefix("error: ").rstrip("\n")


# -- help, version, completion -------------------------------------------------------------------------


def test_version_is_that_of_the_package() -> None:
    for option in ("--version", "-V"):
        shown = CliRunner().invoke(app, [option])
        assert (shown.exit_code, shown.output) == (0, f"tintlab {importlib.metadata.version('tintlab')}\n")


@pytest.mark.parametrize("command", [[], ["score"], ["explore", "variants"], ["sources", "pull"], ["up"]])
def test_h_is_help_everywhere(command: list[str]) -> None:
    short, long = (CliRunner().invoke(app, [*command, option]) for option in ("-h", "--help"))
    assert short.exit_code == 0
    assert short.output == long.output
    assert "Usage: tintlab" in short.output.replace("root", "tintlab")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["tintlab", "rollb"], {"rollback"}),
        (["tintlab", "score", "scans", "out", "--model", "ch"], {"champion", "challenger"}),
        (["tintlab", "judge", "ba"], {"base"}),
        (["tintlab", "repro", "--preset", "s"], {"smoke", "scratch"}),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_models_and_presets(shell: str, words: list[str], offered: set[str]) -> None:
    surroundings = {
        "_TINTLAB_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": " ".join(words),
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    program = str(Path(sys.executable).with_name("tintlab"))
    found = subprocess.run(
        [program], env=os.environ | surroundings, capture_output=True, text=True, check=True
    )
    assert offered <= set(found.stdout.replace('"', " ").replace("\\", " ").split())


def test_completion_is_installed_for_the_shell_in_use(tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("tintlab"))
    shown = subprocess.run(
        [
            "bash",
            "-c",
            f"'{program}' --show-completion bash; exit $?",
        ],  # one command alone would replace the shell
        env=os.environ | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "complete_bash" in shown.stdout
    subprocess.run(["bash", "-n"], input=shown.stdout, text=True, check=True)


# -- names that are misspelt ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        (["score", "scans", "out", "--model", "champoin"], "did you mean champion?"),
        (["score", "scans", "out", "--model", "Champion"], "did you mean champion?"),
        (["colorize", "boat.jpg", "--model", "bse"], "did you mean base?"),
        (["judge", "chalenger"], "did you mean challenger?"),
        (["register", "--model", "champoin"], "did you mean champion?"),
        (["explore", "variants", "boat.jpg", "--model", "champoin"], "did you mean champion?"),
        (["score", "scans", "out", "--model", "models/generatr"], "did you mean models/generator?"),
        (["repro", "--preset", "smok"], "did you mean smoke?"),
        (["repro", "--preset", "Smoke"], "did you mean smoke?"),
        (
            ["repro", "--preset", "zzz"],
            "there are base, base-continued, fine-tune, large, plain-unet, scratch, smoke, thesis",
        ),
        (["repro", "--preset", "z" * 500], "there are base, base-continued"),
    ],
)
def test_a_misspelt_name_gets_the_one_that_was_meant(
    command: list[str], advice: str, program: Run, tmp_path: Path
) -> None:
    (tmp_path / "scans").mkdir()
    Path("models/generator").mkdir(parents=True)
    said = faulty(program(*command))
    assert advice in said
    assert "train one" not in said


def test_a_misspelt_command_gets_the_one_that_was_meant(program: Run) -> None:
    status, said = program("colourize", "boat.jpg")
    assert status == 2
    assert "colorize" in said


def test_only_the_pipelines_own_place_asks_to_train(program: Run) -> None:
    assert "train one with `tintlab repro`" in faulty(program("register"))


# -- lists of photographs, counts ----------------------------------------------------------------------


@pytest.fixture
def scans(picture: Callable[..., np.ndarray]) -> Iterator[Path]:
    """Two photographs and a text."""
    folder = Path("scans")
    folder.mkdir()
    for seed in (1, 2):
        Image.fromarray(picture(60, 40, seed=seed)).save(folder / f"{seed}.jpg")
    (folder / "notes.txt").write_text("in the attic")
    yield folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny model that says what it was trained on."""
    folder = make_model(tmp_path_factory.mktemp("model"))
    shutil.copy(base_folder() / paths.TRAINING_SUMMARY, folder)
    return str(folder)


def test_a_table_with_a_column_path_is_scored(scans: Path, model: str) -> None:
    Path("list.csv").write_text("id,path,place\n1,scans/1.jpg,Delft\n2,scans/2.jpg,\n")
    assert CliRunner().invoke(app, ["score", "list.csv", "out", "--model", model]).exit_code == 0
    assert sorted(path.name for path in Path("out").rglob("*.png")) == ["1.png", "2.png"]


def test_a_table_without_that_column_is_refused_in_one_line(scans: Path, model: str, program: Run) -> None:
    Path("list.csv").write_text("id,file\n1,scans/1.jpg\n")
    said = faulty(program("score", "list.csv", "out", "--model", model))
    assert said.startswith("list.csv has no column 'path' (its columns: id, file)")
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "command",
    [["sheet"], *(["explore", name] for name in ("variants", "measure", "directions", "units", "contrast"))],
)
def test_a_count_is_asked_for_by_n_or_number(command: list[str]) -> None:
    shown = CliRunner().invoke(app, [*command, "--help"]).output
    assert "--number" in shown and "-n " in shown


# -- scoring that had nothing to do --------------------------------------------------------------------


def test_scoring_again_with_nothing_to_do_adds_no_run(scans: Path, model: str) -> None:
    def runs() -> int:
        with closing(sqlite3.connect(paths.tracking_database())) as database:
            return int(database.execute("select count(*) from runs").fetchone()[0])

    command = ["score", str(scans), "out", "--model", model]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert runs() == 1
    again = CliRunner().invoke(app, command)
    assert "nothing to do: 2 of 2 photographs are done" in again.output
    assert runs() == 1
    # A file that can't be read is tried again each time, to the same end.
    (scans / "3.jpg").write_bytes(b"no photograph")
    assert CliRunner().invoke(app, command).exit_code == 2
    assert runs() == 2
    assert CliRunner().invoke(app, command).exit_code == 2
    assert runs() == 2


# -- lines of a training -------------------------------------------------------------------------------


def test_epochs_without_a_discriminator_print_no_loss_of_it(
    default_params: Params, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phases = {
        "epochs": 6,
        "iterations_per_epoch": 10,
        "l1_epochs": 2,
        "guidance_epochs": 1,
        "variety_epochs": 1,
    }
    params = default_params.train.model_copy(update=phases)
    with Recorder("0123456789abcdef") as recorder:
        reporter = Reporter(params, tmp_path, recorder)
        for iteration in (10, 20, 30, 50, 60):
            reporter.displayed(iteration, dict.fromkeys(METERS, 0.5))
    said = capsys.readouterr().out
    assert said.count("the GAN begins with epoch 3") == 1
    lines = [line for line in said.splitlines() if line.startswith("loss_D:")]
    assert lines == ["loss_D: –", "loss_D: –", "loss_D: 0.50000", "loss_D: –", "loss_D: 0.50000"]
    assert "loss_G_L1: 0.50000" in said


# -- the length of messages ----------------------------------------------------------------------------


def template_length(node: ast.expr) -> int:
    match node:
        case ast.Constant(value=str(text)):
            return len(text)
        case ast.JoinedStr():
            return sum(map(template_length, node.values))
        case ast.FormattedValue():
            return PLACEHOLDER
        case ast.BinOp():
            return template_length(node.left) + template_length(node.right)
        case ast.IfExp():
            return max(template_length(node.body), template_length(node.orelse))
        case _:
            return 0


def test_no_template_of_a_message_is_longer_than_200_letters(repository: Path) -> None:
    found = {}
    for place in ("src", "flows"):
        for path in (repository / place).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(RAISERS) and node.args:
                    length = max(map(template_length, node.args))
                    found[f"{path.relative_to(repository)}:{node.lineno}"] = length
    assert len(found) > 300
    assert {place: length for place, length in found.items() if length > LONGEST} == {}


@pytest.mark.parametrize(
    "message",
    [
        "short",
        f"no model in /home/{'x' * 300}/generator (config.json is missing): name another folder",
        f"{'/a' * 150}.jpg and {'/b' * 150}.jpg would both become one: colour them to different folders",
        "words " * 100,
        "x" * 1000,
    ],
)
def test_a_message_is_cut_where_it_says_least(
    message: str, monkeypatch: pytest.MonkeyPatch, program: Run
) -> None:
    shown = console.shortened(message)
    assert len(shown) <= LONGEST
    assert shown == message or "…" in shown
    if "folder" in message:
        assert shown.endswith(message[-30:])

    def fail() -> None:
        raise TintlabError(message)

    with pytest.raises(SystemExit) as end:
        entry_point.run(fail)
    assert end.value.code == f"error: {shown}"
