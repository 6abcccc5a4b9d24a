"""`tintlab up` on a real PostgreSQL, as docs/operations.md says."""

from collections.abc import Callable

import pytest

from tests.flows.conftest import Up
from tests.pipeline.conftest import Workspace
from tests.processes import seconds_until_gone, with_descendants
from tests.registry.databases import postgresql

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_both_servers_keep_their_state_in_postgresql(new_workspace: Callable[[], Workspace]) -> None:
    with postgresql() as mlflow:
        import psycopg2

        socket = mlflow.partition("?host=")[2]

        def asked(database: str, question: str) -> list[tuple[object, ...]]:
            connection = psycopg2.connect(host=socket, user="postgres", dbname=database)
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(question)
                return list(cursor.fetchall()) if cursor.description else []

        asked("mlflow", "create database prefect")
        workspace = new_workspace()
        workspace.environment |= {
            "MLFLOW_TRACKING_URI": mlflow,
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://postgres@/prefect?host={socket}",
        }
        up = Up(workspace)
        everyone = [process.pid for process in with_descendants(up.process.pid)]
        try:
            assert up.start("watch/hourly").ends() == ("COMPLETED", "NothingNew")
            up.process.kill()
            seconds_until_gone(everyone, 30)  # also when it could not say good-bye
        finally:
            up.end()
        assert asked("prefect", "select count(*) from flow_run where state_name = 'NothingNew'") == [(1,)]
        assert asked("mlflow", "select count(*) from experiments")[0][0]
        assert not list(up.state.rglob("*.db"))
