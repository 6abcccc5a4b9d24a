"""`tintlab worker`: runs the flows of this project for a Prefect server that runs elsewhere."""

import os
import socket
from typing import NoReturn

from tintlab.operations import prefect_server
from tintlab.system import console, paths
from tintlab.system.errors import TintlabError, outside_project
from tintlab.tracking import store

ADDRESS = "PREFECT_API_URL"


def work() -> NoReturn:
    """Deploy the flows to the server that `PREFECT_API_URL` names, then become Prefect's worker.

    Raises:
        TintlabError: this is no project, no server is named, or it refuses or does not answer.
    """
    if not prefect_server.PREFECT_FILE.exists():
        raise outside_project(prefect_server.PREFECT_FILE)
    address = os.environ.get(ADDRESS)
    if not address:
        raise TintlabError(
            f"set {ADDRESS} to Prefect's API, as in http://prefect:4200/api; or run `tintlab up`"
        )
    paths.services().mkdir(parents=True, exist_ok=True)
    environment = prefect_server.environment(address.rstrip("/").removesuffix("/api"), store.tracking_uri())
    prefect_server.set_up(environment)
    console.say(f"deployed the flows to {address}")
    command = prefect_server.worker_command(socket.gethostname())
    os.execve(command[0], command, environment)
