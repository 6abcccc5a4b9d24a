"""rollback: make the former champion champion again, for the person on call."""

from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

from flows import common
from flows.pages import as_text


@flow
def rollback(why: str) -> None:
    """Make the former champion champion again. A second call goes one further back.

    Args:
        why: reason, recorded in the history (`tintlab history`).
    """
    common.start_flow()
    lines = roll_back(why)
    create_markdown_artifact(
        "\n\n".join(["# Rollback", *map(as_text, lines)]), key="rollback", description=as_text(why)
    )
    common.notify("tintlab rollback", "\n".join([why, *lines]))


@task(**common.NETWORK)
def roll_back(why: str) -> list[str]:
    """Run `tintlab rollback`; returns its lines."""
    return common.run_tintlab("rollback", "--why", why, folder=Path.cwd())
