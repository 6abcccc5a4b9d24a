import os
import signal
import subprocess
import sys

import pytest

from tintlab.system import console, entry_point
from tintlab.system.errors import TintlabError

PREAMBLE = (
    "import os, signal, sys, time\nfrom tintlab.system import entry_point\n"
    "from tintlab.system.errors import TintlabError\n"
)


def started(body: str, environment: dict[str, str] | None = None) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", f"{PREAMBLE}def main():\n    {body}\nentry_point.run(main)\n"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def ended(body: str, environment: dict[str, str] | None = None) -> tuple[int, str, str]:
    process = started(body, environment)
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


def test_success() -> None:
    assert ended("print('done')") == (0, "done\n", "")


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("raise TintlabError('no photos: drop some')", "error: no photos: drop some\n"),
        ("raise TintlabError('two\\n  lines')", "error: two lines\n"),
        ("raise TintlabError", "error: TintlabError\n"),
        ("open('/nowhere/at/all')", "error: [Errno 2] No such file or directory: '/nowhere/at/all'\n"),
        (
            "raise OSError(28, 'No space left on device')",
            "error: [Errno 28] No space left on device: make space, then run again; what was finished is kept\n",
        ),
        ("raise TimeoutError", "error: TimeoutError\n"),
    ],
)
def test_faults_that_people_can_mend_are_one_line_and_status_1(body: str, line: str) -> None:
    assert ended(body) == (1, "", line)


def test_faults_of_the_program_keep_their_traceback() -> None:
    status, _, errors = ended("1 / 0")
    assert status == 1
    assert "Traceback" in errors
    assert "ZeroDivisionError" in errors


def test_a_status_of_its_own_passes() -> None:
    assert ended("sys.exit(3)") == (3, "", "")


def test_ctrl_c_is_status_130_without_a_traceback() -> None:
    # A test run in the background of a shell ignores SIGINT, and so would what it starts.
    listening = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    process = started(f"{listening}; print('ready', flush=True); time.sleep(60)")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "interrupted\n")


def test_telemetry_is_off_in_programs_and_what_they_start() -> None:
    expected = {  # as each project documents it
        "DO_NOT_TRACK": "true",
        "DVC_NO_ANALYTICS": "1",
        "GX_ANALYTICS_ENABLED": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    bare = {name: value for name, value in os.environ.items() if name not in expected}
    status, output, _ = ended(f"os.system('echo ' + ' '.join('$' + name for name in {list(expected)}))", bare)
    assert status == 0
    assert output.split() == list(expected.values())


def test_the_user_s_own_choice_stands() -> None:
    status, output, _ = ended("print(os.environ['DO_NOT_TRACK'])", os.environ | {"DO_NOT_TRACK": "false"})
    assert (status, output) == (0, "false\n")


def test_the_libraries_understand_the_opt_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from dvc import analytics
    from mlflow.telemetry.utils import is_telemetry_disabled
    from prefect.settings import get_current_settings

    for name in entry_point.TELEMETRY_OPT_OUT:
        monkeypatch.delenv(name, raising=False)
    entry_point.prepare_environment()
    assert not analytics.is_enabled()
    assert is_telemetry_disabled()
    monkeypatch.delenv("DO_NOT_TRACK")
    assert is_telemetry_disabled()  # by its own variable too
    assert type(get_current_settings())().server.analytics_enabled is False


def test_progress_passes_every_item_and_reports_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(console.progress(iter("abc"), "files", "gathering", 3)) == ["a", "b", "c"]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "gathering: 100%" in captured.err
    assert "3/3" in captured.err


def test_printable() -> None:
    assert console.printable("Größe 5 µm.jpg") == "Größe 5 µm.jpg"
    assert console.printable("a\nb\x1b[31m\u202ec\udce9") == "a\\nb\\x1b[31m\\u202ec\\udce9"


def test_one_line() -> None:
    assert console.one_line(TintlabError("a\n\tb  c")) == "a b c"
    assert console.one_line(ValueError()) == "ValueError"
