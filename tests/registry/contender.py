"""A process that promotes when it is told to. It imports little, for eight of them are started."""

import os
from multiprocessing.connection import Connection

import mlflow  # noqa: F401

from tintlab.registry import history, promotion
from tintlab.system.errors import TintlabError
from tintlab.tracking import store


def contend(orders: Connection, environment: dict[str, str]) -> None:
    """Promote the version that is ordered, as often as one is; answer what came of it. 0 ends it."""
    os.environ.update(environment)  # the fork server's is that of its first test
    with store.connect() as client:
        history.read(client)
    orders.send("ready")
    while version := orders.recv():
        try:
            orders.send(("won", promotion.promote(version)))
        except TintlabError as error:
            orders.send((type(error).__name__, str(error)))
