"""A pytest plugin that records what the code under test says to the database.

In a checkout of the release, with this folder on PYTHONPATH:
`pytest -p record_writes --record-writes 0004.json tests/...`. It needs nothing of the checkout but
SQLAlchemy, so it also runs where older code is checked out. One life is what one test did.
"""

from __future__ import annotations

import json
import socket
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Engine, event

TEST_DATABASE = "t"
"""The first letter of the databases that tests work in; the template has another."""

VERBS = ("INSERT", "UPDATE", "DELETE", "SELECT")


class Recorder:
    """The statements of a test that were committed, in the order of their commits."""

    def __init__(self) -> None:
        self.statements: dict[str, int] = {}
        self.lives: list[dict[str, Any]] = []
        self._steps: list[list[Any]] = []
        self._read: set[int] = set()
        self._uncommitted: dict[int, list[list[Any]]] = defaultdict(list)

    def begin(self) -> None:
        """A new life."""
        self._steps, self._read = [], set()
        self._uncommitted.clear()

    def end(self, name: str) -> None:
        """Keeps the life, if there was one."""
        if self._steps:
            self.lives.append({"test": name, "steps": self._steps})

    def hear(
        self, connection: Connection, _cursor: object, statement: str, given: Any, *_: object
    ) -> None:
        """Takes a statement of the code (tests' own name no values); of reads the first a form."""
        if isinstance(given, tuple):
            return
        name = connection.engine.url.database or ""
        verb = statement.split(maxsplit=1)[0]
        if not name.startswith(TEST_DATABASE) or verb not in VERBS:
            return
        number = self.statements.setdefault(statement, len(self.statements))
        if verb == "SELECT":
            if number in self._read:
                return
            self._read.add(number)
        rows: Sequence[Mapping[str, Any]] = given if isinstance(given, list) else [given]
        steps = [[number, {key: _plain(value) for key, value in row.items()}] for row in rows]
        self._uncommitted[id(connection)] += steps

    def commit(self, connection: Connection) -> None:
        """What a connection said counts."""
        self._steps += self._uncommitted.pop(id(connection), [])

    def rollback(self, connection: Connection) -> None:
        """What a connection wrote does not count; what it read does."""
        said = self._uncommitted.pop(id(connection), [])
        reads = {number for text, number in self.statements.items() if text.startswith("SELECT")}
        self._steps += [step for step in said if step[0] in reads]

    def write(self, path: Path) -> None:
        """Writes a line a life; the name of this machine stands in none."""
        lives = ",\n".join(json.dumps(life, ensure_ascii=False) for life in self.lives)
        lives = lives.replace(socket.gethostname(), "host")
        statements = json.dumps(list(self.statements), indent=0)
        path.write_text(f'{{"statements": {statements},\n"lives": [\n{lives}\n]}}\n', "utf-8")


def _plain(value: object) -> object:
    if isinstance(value, Jsonb):
        return {"json": value.obj}
    if isinstance(value, datetime):
        return {"time": value.isoformat()}
    return value


_recorder = Recorder()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option that names the file."""
    parser.addoption("--record-writes", type=Path, required=True)


def pytest_configure(config: pytest.Config) -> None:
    """Listens to every engine."""
    event.listen(Engine, "before_cursor_execute", _recorder.hear)
    event.listen(Engine, "commit", _recorder.commit)
    event.listen(Engine, "rollback", _recorder.rollback)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """A test is a life."""
    _recorder.begin()
    yield
    _recorder.end(item.nodeid.rpartition("/")[2])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Writes the file."""
    _recorder.write(config.getoption("--record-writes"))
