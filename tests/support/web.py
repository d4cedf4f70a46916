"""A web of a test's own: names and addresses that lead to a server on this machine."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

from labelmill.images.web.network import Deadline, Network

#: What a server says to the head of a request, a piece at a time.
Handler = Callable[[str], Iterable[bytes]]


def reply(body: bytes, status: str = "200 OK", **headers: str) -> list[bytes]:
    """An answer with this body; ``content_type="…"`` is the header Content-Type."""
    head = {"Content-Length": str(len(body))} | {
        name.replace("_", "-").title(): value for name, value in headers.items()
    }
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in head.items()), "", ""]
    return ["\r\n".join(lines).encode("latin-1"), body]


class WebServer:
    """Answers every connection with what a handler says::

        with WebServer(lambda request: reply(b"a cat")) as server:
            socket.create_connection(("127.0.0.1", server.port))

    Parameters:
        handler: may be slow: it is left when the server ends.
        tls: the server's certificate; None for plain http.

    Attributes:
        requests: the heads of the requests, as they came.
        names: the server names that TLS clients asked for.
        stopping: set when the server ends; for handlers to wait on.
    """

    def __init__(self, handler: Handler, tls: ssl.SSLContext | None = None) -> None:
        self._handler = handler
        self._tls = tls
        self.requests: list[str] = []
        self.names: list[str] = []
        self.stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        if tls is not None:
            tls.sni_callback = lambda _, name, __: self.names.append(name)

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):  # clients go when they have seen enough
            connection.settimeout(10)
            if self._tls is not None:
                with self._tls.wrap_socket(connection, server_side=True) as wrapped:
                    self._answer(wrapped)
            else:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            if not (piece := connection.recv(65536)):
                return
            request += piece
        self.requests.append(request.decode())
        for piece in self._handler(request.decode()):
            connection.sendall(piece)
            if self.stopping.is_set():
                return


class FakeNetwork(Network):
    """A network where every address leads to one port of this machine.

    Parameters:
        names: the addresses of each host: those of the first lookup, of the second, and so on; the
            last are those of all further ones.
        port: where connections arrive; None to refuse them all.

    Attributes:
        looked_up: the hosts that were resolved.
        dialled: the addresses and ports that were dialled.
    """

    def __init__(self, names: dict[str, list[Sequence[str]]], port: int | None = None) -> None:
        super().__init__()
        self._names = names
        self._port = port
        self.looked_up: list[str] = []
        self.dialled: list[tuple[str, int]] = []

    def resolve(self, host: str, deadline: Deadline) -> Sequence[str]:
        """See :class:`Network`."""
        self.looked_up.append(host)
        try:
            answers = self._names[host]
        except KeyError:
            raise socket.gaierror(socket.EAI_NONAME, "no such host") from None
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def connect(self, address: str, port: int, seconds: float) -> socket.socket:
        """See :class:`Network`."""
        self.dialled.append((address, port))
        if self._port is None:
            raise ConnectionRefusedError
        return super().connect("127.0.0.1", self._port, seconds)


def make_certificate(folder: Path, *names: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A certificate for these names: the server's side of it, and a client's that trusts it."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subjects = ",".join(f"DNS:{name}" for name in names)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=test", "-addext", f"subjectAltName={subjects}",
         "-addext", "keyUsage=critical,digitalSignature,keyCertSign",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=str(certificate))
