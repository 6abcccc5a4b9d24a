"""What an ordinary user may do, where tests run as root, who may do everything."""

import multiprocessing
import os
from collections.abc import Callable
from typing import Any


def as_ordinary_user(work: Callable[[], Any]) -> Any:
    """What `work` returns in a process that may not do everything, as root may."""

    def report() -> None:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        sending.send(work())

    receiving, sending = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=report)
    child.start()
    try:
        assert receiving.poll(60), "no answer"
        return receiving.recv()
    finally:
        child.kill()
        child.join()
