"""A TCP relay before a server: it can stop forwarding, or lose answers, and closes nothing."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from sqlalchemy import Connection, make_url

from visionseg.config import Services, Settings

PIECE_BYTES = 64 * 1024
LOOK_S = 0.05


class Relay:
    """Forwards a loopback port to a server's Unix socket.

    While it is silent, it accepts connections and bytes and forwards nothing in either direction;
    no end is told that the other is out of reach. What it took meanwhile is lost, with its
    connections, when it resumes: a path that broke does not deliver late.
    """

    def __init__(self, target: Path) -> None:
        self._target = str(target)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._silent = threading.Event()
        self._unheard: object = None
        self._closing = threading.Event()
        self._broken: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Forwards nothing until the block ends; the connections of that time never recover."""
        self._silent.set()
        try:
            yield
        finally:
            self._silent.clear()

    def lose_answer_to(self, client: Connection) -> None:
        """Forwards what this client asks, and loses the next answer to it with its connection."""
        driver = client.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        with socket.fromfd(driver.fileno(), socket.AF_INET, socket.SOCK_STREAM) as line:
            self._unheard = line.getsockname()

    def close(self) -> None:
        """Closes every connection."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            for key, _ in self._selector.select(LOOK_S):
                source = key.fileobj
                assert isinstance(source, socket.socket)
                if source is self._listener:
                    self._accept()
                elif self._silent.is_set() or self._is_unheard(key.data):
                    self._swallow(source, key.data)
                else:
                    self._forward(source, key.data)
        self._close_all()

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        if self._silent.is_set():
            self._broken.append(near)
            return
        far = socket.socket(socket.AF_UNIX)
        try:
            far.connect(self._target)
        except OSError:
            near.close()
            far.close()
            return
        self._selector.register(near, selectors.EVENT_READ, far)
        self._selector.register(far, selectors.EVENT_READ, near)

    def _is_unheard(self, listener: socket.socket) -> bool:
        if self._unheard is None or listener.family != socket.AF_INET:
            return False
        with suppress(OSError):
            return bool(listener.getpeername() == self._unheard)
        return False

    def _swallow(self, *ends: socket.socket) -> None:
        """Bytes came from one end: from now on nothing more passes between the two."""
        self._forget(*ends)
        self._broken += ends

    def _forward(self, source: socket.socket, other: socket.socket) -> None:
        try:
            data = source.recv(PIECE_BYTES)
            other.sendall(data)
        except OSError:
            data = b""
        if not data:
            self._forget(source, other)
            source.close()
            other.close()

    def _forget(self, *ends: socket.socket) -> None:
        for end in ends:
            with suppress(KeyError, ValueError):  # forgotten a moment ago, with its other end
                self._selector.unregister(end)

    def _close_all(self) -> None:
        ends = [key.fileobj for key in self._selector.get_map().values()]
        for end in (*ends, *self._broken):
            assert isinstance(end, socket.socket)
            end.close()
        self._selector.close()


@contextmanager
def relayed(target: Path) -> Iterator[Relay]:
    """A relay before the server that listens at `target`."""
    relay = Relay(target)
    try:
        yield relay
    finally:
        relay.close()


@contextmanager
def database_relayed(settings: Settings) -> Iterator[tuple[Relay, Settings]]:
    """A relay before the database, and the settings of who reaches it through that."""
    url = make_url(settings.services.database_url)
    folder, port = url.query["host"], url.query["port"]
    with relayed(Path(f"{folder}/.s.PGSQL.{port}")) as relay:
        through = url.set(host="127.0.0.1", port=relay.port, query={})
        yield relay, _with(settings, database_url=through.render_as_string(hide_password=False))


@contextmanager
def redis_relayed(settings: Settings) -> Iterator[tuple[Relay, Settings]]:
    """A relay before Redis, and the settings of who reaches it through that."""
    with relayed(Path(settings.services.redis_url.removeprefix("unix://"))) as relay:
        address = f"redis://127.0.0.1:{relay.port}"
        yield relay, _with(settings, redis_url=address, broker_url=address)


def _with(settings: Settings, **urls: str) -> Settings:
    services = Services.model_validate({**settings.services.model_dump(), **urls})
    return settings.model_copy(update={"services": services})
