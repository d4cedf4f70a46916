"""Both servers, from both places their programs can come from."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import TypeAlias

import psutil
import psycopg
import pytest
from redis import AuthenticationError, Redis

from labelmill.core.errors import EmbeddedServerError
from labelmill.local.binaries import Source, find_postgres
from labelmill.local.postgres import PostgresServer
from labelmill.local.process import free_port
from labelmill.local.redis import RedisServer
from labelmill.local.server import Server

SOURCES: list[Source] = ["path", "wheel"]
Kind: TypeAlias = "type[RedisServer] | type[PostgresServer]"
KINDS: list[Kind] = [RedisServer, PostgresServer]


def remember(server: Server, word: str) -> None:
    if isinstance(server, RedisServer):
        with Redis.from_url(server.url) as client:
            client.set("word", word)
    else:
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE words (word text)")
            connection.execute("INSERT INTO words VALUES (%s)", [word])


def recall(server: Server) -> str | None:
    if isinstance(server, RedisServer):
        with Redis.from_url(server.url, decode_responses=True) as client:
            return str(client.get("word") or "") or None
    with psycopg.connect(server.url) as connection:
        row = connection.execute("SELECT word FROM words").fetchone()
        return str(row[0]) if row else None


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the account PostgreSQL runs as can enter, as pytest's own cannot be."""
    path = Path(tempfile.mkdtemp(prefix="labelmill-test-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest) -> Source:
    if request.param == "path" and not (shutil.which("redis-server") and shutil.which("postgres")):
        pytest.skip("not installed on this machine")
    chosen: Source = request.param
    return chosen


@pytest.mark.parametrize("kind", KINDS)
class TestServer:
    def test_its_life(self, kind: Kind, source: Source, folder: Path) -> None:
        with kind(folder / "data", binaries=source) as server:
            remember(server, "kept")
            port, pid = server.port, server.pid
            program = Path(psutil.Process(pid).exe())
            assert ("site-packages" in program.parts) == (source == "wheel")

            server.restart()
            assert recall(server) == "kept"
            assert server.pid != pid

            server.kill()
            server.start()
            assert recall(server) == "kept"

            server.restart()
            assert server.port == port
            pid = server.pid

        assert not psutil.pid_exists(pid)
        assert (folder / "data").exists()

    def test_a_directory_can_be_used_again(self, kind: Kind, folder: Path) -> None:
        with kind(folder / "data") as server:
            remember(server, "kept")
            server.kill()

        with kind(folder / "data") as server:
            assert recall(server) == "kept"

    def test_nothing_is_left(self, kind: Kind) -> None:
        with kind() as server:
            process = psutil.Process(server.pid)
            # Redis and PostgreSQL both work in, or below, their folder.
            [directory] = [
                each
                for each in (Path(process.cwd()), *Path(process.cwd()).parents)
                if each.name.startswith(f"labelmill-{kind.name.lower()}-")
            ]
            family = [process, *process.children(recursive=True)]

        assert not any(each.is_running() for each in family)
        assert not directory.exists()

    def test_it_listens_to_this_machine_alone(self, kind: Kind) -> None:
        with kind() as server:
            listening = {
                (each.laddr.ip, each.laddr.port)
                for each in psutil.Process(server.pid).net_connections()
                if each.status == psutil.CONN_LISTEN
            }

            assert listening == {("127.0.0.1", server.port)}

    def test_starting_and_stopping_twice_is_harmless(self, kind: Kind) -> None:
        server = kind()
        with pytest.raises(EmbeddedServerError, match="has not been started"):
            _ = server.port
        with server:
            pid = server.pid
            server.start()
            assert server.pid == pid
        server.stop()
        with pytest.raises(EmbeddedServerError, match="does not run"):
            _ = server.pid

    def test_another_port_is_tried_when_one_was_taken(
        self,
        kind: Kind,
        redis_server: RedisServer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        ports = iter([redis_server.port])
        monkeypatch.setattr(
            "labelmill.local.server.free_port", lambda: next(ports, None) or free_port()
        )

        with kind() as server:
            assert server.port != redis_server.port
            assert next(ports, None) is None

    def test_a_server_that_cannot_start_says_why_and_leaves_nothing(
        self, kind: Kind, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(kind, "_command", lambda *_: ["/bin/sh", "-c", "echo no luck today"])
        monkeypatch.setattr(tempfile, "tempdir", str(folder))

        with pytest.raises(EmbeddedServerError, match="does not start:\nno luck today"):
            kind().start()

        assert list(folder.iterdir()) == []

    @pytest.mark.skipif(sys.platform != "linux", reason="a service of Linux")
    def test_it_ends_with_a_process_that_is_killed(self, kind: Kind, folder: Path) -> None:
        script = (
            f"from {kind.__module__} import {kind.__name__} as Kind\n"
            "from pathlib import Path\n"
            f"server = Kind(Path({str(folder / 'data')!r}))\n"
            "server.start()\n"
            "print(server.pid, flush=True)\n"
            "input()\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as parent:
            assert parent.stdout is not None
            server = psutil.Process(int(parent.stdout.readline()))
            parent.send_signal(signal.SIGKILL)

        psutil.wait_procs([server], timeout=30)
        assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE


class TestRedis:
    def test_a_temporary_one_forgets_when_it_dies(self) -> None:
        with RedisServer() as server:
            remember(server, "gone")
            server.kill()
            server.start()

            assert recall(server) is None

    def test_a_temporary_one_can_be_told_to_remember(self) -> None:
        with RedisServer(appendonly=True) as server:
            remember(server, "kept")
            server.kill()
            server.start()

            assert recall(server) == "kept"

    def test_it_never_evicts(self, redis_url: str) -> None:
        with Redis.from_url(redis_url, decode_responses=True) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("save") == {"save": ""}

    def test_a_password_is_needed(self, redis_server: RedisServer) -> None:
        with Redis(port=redis_server.port) as client, pytest.raises(AuthenticationError):
            client.ping()


class TestPostgres:
    def test_a_password_is_needed(self, postgres_server: PostgresServer) -> None:
        url = f"postgresql://labelmill:wrong@127.0.0.1:{postgres_server.port}/postgres"
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(url)

    @pytest.mark.parametrize(("durable", "fsync"), [(None, "off"), (True, "on")])
    def test_durability(self, durable: bool | None, fsync: str) -> None:
        with (
            PostgresServer(durable=durable) as server,
            psycopg.connect(server.url) as connection,
        ):
            assert connection.execute("SHOW fsync").fetchone() == (fsync,)
            assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root changes accounts")
    def test_a_virtual_environment_that_is_private_to_root(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        private = folder / "private"
        package = find_postgres("wheel").parents[1]
        for each in (package / "pginstall", package.with_name(f"{package.name}.libs")):
            shutil.copytree(each, private / each.relative_to(package.parent), symlinks=True)
        private.chmod(0o700)
        programs = private / package.name / "pginstall" / "bin"
        monkeypatch.setattr("labelmill.local.postgres.find_postgres", lambda _: programs)

        with PostgresServer() as server:
            remember(server, "kept")
            assert recall(server) == "kept"

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root changes accounts")
    def test_a_directory_that_the_account_cannot_enter(self, folder: Path) -> None:
        folder.chmod(0o700)

        with pytest.raises(EmbeddedServerError, match="choose a directory that others can enter"):
            PostgresServer(folder / "data").start()


def test_a_thread_may_start_a_server_and_end(folder: Path) -> None:
    server = RedisServer(folder / "data")
    thread = Thread(target=server.start)
    thread.start()
    thread.join()

    with server:
        remember(server, "there")
        assert recall(server) == "there"
