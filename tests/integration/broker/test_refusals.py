"""A connection that was refused is closed; what Redis says decides who bears it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
import redis

from labelmill.broker import refusals
from labelmill.broker.connection import broker_errors, open_broker, reason_of
from labelmill.broker.refusals import Refusal, is_of_access, refusal_of
from labelmill.core.errors import BrokerUnavailable

READONLY = b"-READONLY You can't write against a read only replica.\r\n"


class Server:
    """Answers all that comes on each connection with the next of some answers."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.answer_to_names = b"+OK\r\n"
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/?protocol=2"
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self.connections += 1
        with connection:
            while content := connection.recv(65536):
                if b"SETINFO" in content:
                    connection.sendall(self.answer_to_names)
                else:
                    connection.sendall(self.answers.pop(0) if self.answers else b"+OK\r\n")


@pytest.fixture
def server() -> Iterator[Server]:
    with contextlib.closing(Server()) as server:
        yield server


def test_a_refused_command_is_sent_once_more_on_a_new_connection(server: Server) -> None:
    with open_broker(server.url) as broker:
        server.answers = [READONLY]
        assert broker.execute_command("LPUSH", "list", "job") == b"OK"
        assert server.connections == 2


def test_who_is_refused_again_is_told_and_connects_anew(server: Server) -> None:
    with open_broker(server.url) as broker:
        server.answers = [READONLY] * 2
        with pytest.raises(Refusal) as refused:
            broker.execute_command("LPUSH", "list", "job")
        assert refused.value.word == "READONLY"
        assert str(refused.value) == "READONLY You can't write against a read only replica."
        broker.execute_command("LPUSH", "list", "job")
        assert server.connections == 3


def test_who_may_not_say_its_name_is_served(server: Server) -> None:
    server.answer_to_names = b"-NOPERM User x has no permissions to run 'client|setinfo'\r\n"
    with open_broker(server.url) as broker:
        assert broker.execute_command("LPUSH", "list", "job") == b"OK"
        assert server.connections == 1


def test_a_transaction_is_refused_as_a_whole(server: Server) -> None:
    with open_broker(server.url) as broker:
        server.answers = [b"+OK\r\n" + READONLY + b"-EXECABORT Transaction discarded.\r\n"] * 2
        pipe = broker.pipeline().lpush("list", "job")
        with pytest.raises(Refusal, match="READONLY"):
            pipe.execute()


def test_an_answer_about_the_request_leaves_the_connection(server: Server) -> None:
    with open_broker(server.url) as broker:
        server.answers = [b"-WRONGTYPE Operation against a key\r\n", b"-ERR syntax error\r\n"]
        for _ in range(2):
            with pytest.raises(redis.ResponseError):
                broker.execute_command("LPUSH", "list", "job")
        broker.execute_command("LPUSH", "list", "job")
        assert server.connections == 1


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ("READONLY You can't write against a read only replica.", "READONLY"),
        ("LOADING Redis is loading the dataset in memory", "LOADING"),
        ("OOM command not allowed when used memory > 'maxmemory'.", "OOM"),
        ("MISCONF Redis is configured to save RDB snapshots", "MISCONF"),
        ("UNBLOCKED force unblock from blocking operation", "UNBLOCKED"),
        ("NOAUTH Authentication required.", "NOAUTH"),
        ("WRONGPASS invalid username-password pair or user is disabled.", "WRONGPASS"),
        ("ERR invalid password", "WRONGPASS"),
        ("NOPERM User worker has no permissions to run the 'evalsha' command", "NOPERM"),
        ("ERR ACL failure in script: User worker has no permissions", "NOPERM"),
        (
            "ERR Error running script (call to f_0a): @user_script:2: @user_script: 2: "
            "-READONLY You can't write against a read only replica. ",
            "READONLY",
        ),
        ("EXECABORT Transaction discarded because of: MISCONF Errors writing", "MISCONF"),
        ("EXECABORT Transaction discarded because of previous errors.", None),
        ("NOTYETINVENTED come again", "NOTYETINVENTED"),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", None),
        ("NOSCRIPT No matching script. Please use EVAL.", None),
        ("NOGROUP No such key 'labelmill:finished'", None),
        ("ERR unknown command 'BLMOVE'", None),
        ("no such key", None),
    ],
)
def test_what_an_answer_means(server: Server, answer: str, word: str | None) -> None:
    with open_broker(server.url) as broker:
        server.answers = [f"-{answer}\r\n".encode()] * 2
        with pytest.raises(redis.RedisError) as failed:
            broker.execute_command("ANY")
    assert refusal_of(failed.value) == word
    assert is_of_access(failed.value) == (word in ("NOAUTH", "WRONGPASS", "NOPERM"))
    said = f"says {word}: " if word else "^Redis "
    with pytest.raises(BrokerUnavailable, match=said), broker_errors():
        raise failed.value


def test_what_quotes_a_command_is_not_repeated() -> None:
    quoting = redis.ResponseError("Command # 1 (LPUSH list secret) of pipeline caused error: x")
    assert "secret" not in reason_of(quoting)
    quoting = redis.ResponseError("unknown command 'X', with args beginning with: 'secret'")
    assert "secret" not in reason_of(quoting)


def test_a_connection_is_not_handed_out_for_ever(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_broker(redis_url) as broker:
        first = broker.client_id()
        assert broker.client_id() == first
        monkeypatch.setattr(refusals, "REUSED_SECONDS", 0)
        assert broker.client_id() != first
