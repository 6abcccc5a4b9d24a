"""Eight processes promote at once, round after round: each round has one winner, and the history no gap.

What came of it is read from the database by SQL, and worked out by a reading of the log of its own.
"""

import json
import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import sqlalchemy

from tests.registry.conftest import make_model, verdict_on
from tests.registry.contender import contend
from tests.registry.databases import postgresql
from tintlab.registry import register
from tintlab.tracking import store

PROCESSES, ROUNDS = 8, 30
PATIENCE = 300.0


@contextmanager
def contenders() -> Iterator[list[Connection]]:
    """Eight processes that stay, forked from one that has done the imports, for those take seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.registry.contender"])
    pipes = [context.Pipe() for _ in range(PROCESSES)]
    processes = [
        context.Process(target=contend, args=[theirs, dict(os.environ)], daemon=True) for _, theirs in pipes
    ]
    try:
        for process in processes:
            process.start()
        ours = [mine for mine, _ in pipes]
        assert [heard(pipe) for pipe in ours] == ["ready"] * PROCESSES
        yield ours
        for pipe in ours:
            pipe.send(0)
        for process in processes:
            process.join(PATIENCE)
            assert process.exitcode == 0
    finally:
        for process in processes:
            process.kill()


def heard(pipe: Connection) -> Any:
    assert pipe.poll(PATIENCE), "a process says nothing"
    return pipe.recv()


def many_versions(folder: Path) -> dict[int, tuple[Path, dict[str, Any]]]:
    """Twice as many versions as processes, by number: the file of each one's verdict, and the verdict.

    Each has weights of its own: a version of the champion's own model would need no verdict.
    """
    versions = {}
    for seed in range(2 * PROCESSES):
        registered = register.register(make_model(folder / str(seed), seed))
        with store.connect() as client:
            artifacts = Path(unquote(urlsplit(client.get_run(registered.run_id).info.artifact_uri).path))
        (artifacts / "verdicts").mkdir()
        file = artifacts / "verdicts" / f"{registered.version}.json"
        versions[registered.version] = file, verdict_on(registered.version)
    return versions


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_of_eight_promotions_at_once_one_wins_in_every_round(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path / "state"))
    served = postgresql() if database == "postgresql" else nullcontext(f"sqlite:///{tmp_path}/mlflow.db")
    with served as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        versions = many_versions(tmp_path / "model")
        outcomes: Counter[str] = Counter()
        winners: list[int] = []
        with contenders() as pipes:
            for number in range(ROUNDS):
                wanted = (
                    range(1, PROCESSES + 1) if number % 2 == 0 else range(PROCESSES + 1, 2 * PROCESSES + 1)
                )
                champion = winners[-1] if winners else None
                weights = versions[champion][1]["weights_sha256"] if champion else None
                for version in wanted:
                    file, verdict = versions[version]
                    against = {"champion": champion, "champion_weights_sha256": weights}
                    file.write_text(json.dumps(verdict | against))
                for pipe, version in zip(pipes, wanted, strict=True):
                    pipe.send(version)
                answers = [heard(pipe) for pipe in pipes]
                won = [version for version, (word, _) in zip(wanted, answers, strict=True) if word == "won"]
                assert len(won) == 1, answers
                winners += won
                outcomes.update(word for word, _ in answers)
                refused = [text for word, text in answers if word != "won"]
                assert all("not made champion" in text or "was judged against" in text for text in refused), (
                    refused
                )
        engine = sqlalchemy.create_engine(uri)
        check_by_sql(engine, winners)
        engine.dispose()
        # Many a loser was overtaken between its last look and its entry: there the log decides.
        assert outcomes["BeatenError"] >= ROUNDS / 2, outcomes
        print(database, dict(outcomes), file=sys.stderr)


def check_by_sql(engine: sqlalchemy.Engine, winners: list[int]) -> None:
    with engine.connect() as connection:

        def column(query: str) -> list[Any]:
            return [row[0] for row in connection.execute(sqlalchemy.text(query))]

        numbers = column("select version from model_versions where name='tintlab-history' order by version")
        assert numbers == list(range(1, len(numbers) + 1))

        where = "name='tintlab-history' and key='tintlab.entry' order by version"
        entries = [json.loads(text) for text in column(f"select value from model_version_tags where {where}")]
        assert len(entries) == len(numbers)
        reigns: list[int] = []
        head = 0
        for number, entry in zip(numbers, entries, strict=True):
            if entry["expected"] == head:
                reigns.append(entry["version"])
                head = number
        assert reigns == winners
        alias = "select version from registered_model_aliases where name='tintlab' and alias='champion'"
        assert column(alias) == [winners[-1]]
