"""The application in a thread of the test's own process, with limits of its own."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from tintlab.studio.app import create_app
from tintlab.studio.limits import Limits
from tintlab.studio.models import Models
from tintlab.studio.safety import Access


@contextmanager
def serving(model: Path, limits: Limits | None = None) -> Iterator[str]:
    """The address of a server that runs until the end of the block."""
    app = create_app(Models(str(model)), Access(), limits or Limits())
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
