import http.server
import os
import signal
import subprocess
import sys
import threading

import pytest

from tintlab.system import entry_point

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


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


CLIENTS = {
    "urllib": "import urllib.request\nprint(urllib.request.urlopen(url, timeout=5).read().decode())",
    "requests": "import requests\nprint(requests.get(url, timeout=5).text)",
    "httpx": "import httpx\nprint(httpx.get(url, timeout=5).text)",
    "aiohttp": (
        "import aiohttp, asyncio\n"
        "async def ask():\n"
        "    async with aiohttp.ClientSession(trust_env=True) as session:\n"
        "        async with session.get(url, timeout=aiohttp.ClientTimeout(5)) as answer:\n"
        "            return await answer.text()\n"
        "print(asyncio.run(ask()))"
    ),
}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("client", CLIENTS)
def test_loopback_is_exempt_from_proxies(client: str, host: str) -> None:
    """A real server here, and a proxy that nobody listens at: what we start reaches the server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        proxies = dict.fromkeys(
            ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"], "http://127.0.0.1:9"
        )
        bare = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
        source = f"url = 'http://{host}:{server.server_port}/'\n{CLIENTS[client]}"
        started_by_us = f"import subprocess; subprocess.run([sys.executable, '-c', {source!r}], check=False)"
        status, output, errors = ended(started_by_us, bare | proxies)
        server.shutdown()
    assert (status, output) == (0, "ok\n"), errors


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "localhost,127.0.0.1,::1"),
        ({"NO_PROXY": "intranet, localhost"}, "intranet,localhost,127.0.0.1,::1"),
        ({"no_proxy": "a", "NO_PROXY": "b"}, "a,localhost,127.0.0.1,::1"),
    ],
)
def test_the_user_s_own_exemptions_stay(
    before: dict[str, str], after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    entry_point.prepare_environment()
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == after
