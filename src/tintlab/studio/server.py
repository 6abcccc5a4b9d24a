"""`tintlab studio`: the server, until Ctrl-C."""

import logging
import os
import socket
import threading
import urllib.request
import webbrowser
from contextlib import suppress

import uvicorn

from tintlab.scoring.settings import load_max_megapixels
from tintlab.scoring.threads import cpus, one_thread_each
from tintlab.studio.app import create_app
from tintlab.studio.limits import Limits
from tintlab.studio.models import Models
from tintlab.studio.safety import check_access
from tintlab.system import console
from tintlab.system.errors import TintlabError
from tintlab.system.memory import keep_freed_memory, share_arenas

PORT = 8400
TOKEN_VARIABLE = "TINTLAB_STUDIO_TOKEN"

_TRIED_PORTS = 20
_OPEN_SECONDS = 30.0
_GRACE_SECONDS = 3


def serve(
    port: int | None = None,
    host: str = "127.0.0.1",
    model: str | None = None,
    names: tuple[str, ...] = (),
    open_page: bool = False,
) -> None:
    """Serve the page and the plain HTTP interface until Ctrl-C.

    Args:
        port: None is `PORT`, or a free one after it where that is taken; 0 is any free one.
        host: the address to listen on; one that other machines reach needs the token of `TOKEN_VARIABLE`.
        model: see `registry.models.locate`; None follows the champion.
        names: other names that the server may be called by.
        open_page: in the browser.

    Raises:
        TintlabError: the port is taken, the address is none of this machine, or there is no token.
    """
    access = check_access(host, os.environ.get(TOKEN_VARIABLE, ""), names)
    listening = _listen(host, port)
    address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    limits = Limits(computing=cpus(), admitted=4 * cpus(), max_megapixels=load_max_megapixels())
    config = uvicorn.Config(
        create_app(Models(model), access, limits),
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=_GRACE_SECONDS,
        server_header=False,
        proxy_headers=False,
    )
    console.say(f"studio   {address}/   (Ctrl-C ends it)")
    if open_page:
        threading.Thread(target=_open_when_ready, args=(address,), daemon=True).start()
    share_arenas(cpus())
    keep_freed_memory()
    with one_thread_each():
        uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int | None) -> socket.socket:
    wanted = [PORT + step for step in range(_TRIED_PORTS)] if port is None else [port]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for number in wanted:
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, number))
            listening.listen(128)
        except OSError as error:
            listening.close()
            reason = error.strerror or str(error)
        else:
            return listening
    raise TintlabError(f"can't listen on {host}, port {wanted[-1]}: {reason}: choose another with --port")


def _open_when_ready(address: str) -> None:
    with suppress(OSError), urllib.request.urlopen(f"{address}/healthz", timeout=_OPEN_SECONDS):
        webbrowser.open(f"{address}/")
