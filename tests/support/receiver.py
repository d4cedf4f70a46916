"""A receiver of webhooks: a real HTTP server on this machine that answers as it is told."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@dataclass
class Attempt:
    """One request, and what it was answered."""

    headers: dict[str, str]
    body: bytes
    status: int

    @property
    def ids(self) -> list[str]:
        """The jobs that it announces."""
        return [job["id"] for job in json.loads(self.body)["data"]["jobs"]]

    def signed_with(self, secret: str) -> bool:
        """Whether one of its signatures is made with this secret, by the words of the standard."""
        signed = b".".join(
            [
                self.headers["webhook-id"].encode(),
                self.headers["webhook-timestamp"].encode(),
                self.body,
            ]
        )
        key = base64.b64decode(secret.split("_", 1)[1])
        wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return f"v1,{wanted}" in self.headers["webhook-signature"].split(" ")


@dataclass
class Receiver:
    """What it was sent, and what it answers.

    Attributes:
        answers: the statuses and headers of the next answers; then 204.
        open: cleared to keep every answer back.
    """

    url: str
    attempts: list[Attempt] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    open: threading.Event = field(default_factory=threading.Event)
    waiting: int = 0

    def taken(self) -> list[str]:
        """The jobs of the attempts that were answered well, in their order."""
        return [each for attempt in self.attempts if attempt.status < 300 for each in attempt.ids]


@contextmanager
def receiver(port: int = 0) -> Iterator[Receiver]:
    """A receiver that answers 204 until told otherwise."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            state.waiting += 1
            state.open.wait(60)
            status, headers = state.answers.pop(0) if state.answers else (204, {})
            names = {name.lower(): value for name, value in self.headers.items()}
            state.attempts.append(Attempt(names, body, status))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("content-length", "2")
            self.end_headers()
            if status != 204:
                self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def handle(self) -> None:
            with suppress(ConnectionError):  # the deliverer was killed
                super().handle()

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        state = Receiver(f"http://127.0.0.1:{server.server_port}/hook?token=hidden")
        state.open.set()
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield state
        state.open.set()
        server.shutdown()
        thread.join()
