"""rollback: the former champion is champion again; for the person on call."""

from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

from flows import common
from flows.pages import as_text


@flow
def rollback(why: str) -> None:
    """Make the former champion champion again; once more goes one further back.

    Args:
        why: kept in the history, see `tintlab history`.
    """
    common.begin()
    lines = roll_back(why)
    create_markdown_artifact(
        "\n\n".join(["# Rollback", *map(as_text, lines)]), key="rollback", description=as_text(why)
    )
    common.notify("tintlab rollback", "\n".join([why, *lines]))


@task(**common.NETWORK)
def roll_back(why: str) -> list[str]:
    """`tintlab rollback`; what it said."""
    return common.tintlab("rollback", "--why", why, folder=Path.cwd())
