"""A TCP proxy that a test can make fail: between a client and a server of this machine."""

from __future__ import annotations

import queue
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from labelmill.core.closing import Closeable

_CHUNK = 65536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER, 0 s


@dataclass(slots=True)
class _Loss:
    """What becomes of the replies to the next requests that contain something."""

    how: Literal["eat", "lose", "delay"]
    containing: bytes
    times: int
    seconds: float = 0.0


class Proxy(Closeable):
    """Passes everything on, until told otherwise::

        with Proxy(server.port) as proxy:
            redis.Redis(port=proxy.port).ping()
            proxy.cut()

    Single replies are lost by :meth:`eat`, :meth:`lose` and :meth:`delay`: the server gets the
    next request that contains those bytes, and does what it asks for. What is in force is replaced
    by the next of these calls, and ended by :meth:`resume`.

    Parameters:
        server_port: where the server listens, on 127.0.0.1.
    """

    def __init__(self, server_port: int) -> None:
        self._first_port = server_port
        self._server = ("127.0.0.1", server_port)
        self._servers: set[socket.socket] = set()  # of the peers, those on the server's side
        self._loss: _Loss | None = None
        self._losing: dict[socket.socket, _Loss] = {}  # by the server whose next reply it is
        self._mute: set[socket.socket] = set()
        self._held: dict[socket.socket, float] = {}  # until when, by the monotonic clock
        self.losses = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._peers: dict[socket.socket, socket.socket] = {}
        self._silent = False
        self._answer: bytes | None = None
        self._selector = selectors.DefaultSelector()
        self._orders: queue.Queue[tuple[Callable[[], None] | None, threading.Event]] = queue.Queue()
        self._bell, self._rung = socket.socketpair()
        self._selector.register(self._rung, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    def url_of(self, url: str) -> str:
        """The server's URL, through this proxy."""
        return url.replace(f":{self._first_port}/", f":{self.port}/")

    def cut(self) -> None:
        """Reset every connection; new ones are served."""
        self._order(self._reset_all)

    def refuse(self) -> None:
        """Reset every connection, and refuse new ones: nobody listens."""
        self._order(self._stop_listening)

    def stall(self) -> None:
        """Fall silent: connections stay open, and so do new ones, but nothing passes."""
        self._order(self._fall_silent)

    def half_open(self) -> None:
        """Let the connections of now be silent for good; new ones are served."""
        self._order(self._forget_all)

    def answer(self, reply: bytes) -> None:
        """Answer whatever comes with this, in the server's place."""
        self._order(lambda: self._set_answer(reply))

    def eat(self, containing: bytes = b"", times: int = 1) -> None:
        """Let replies never come: those connections stay open, and are silent for good."""
        self._order(lambda: self._lose(_Loss("eat", containing, times)))

    def lose(self, containing: bytes = b"", times: int = 1) -> None:
        """Reset connections in place of replies."""
        self._order(lambda: self._lose(_Loss("lose", containing, times)))

    def delay(self, seconds: float, containing: bytes = b"", times: int = 1) -> None:
        """Let replies come so much later."""
        self._order(lambda: self._lose(_Loss("delay", containing, times, seconds)))

    def switch(self, server_port: int) -> None:
        """Lead new connections to another server; those of now stay where they are."""
        self._order(lambda: self._lead_to(server_port))

    def resume(self) -> None:
        """Serve again: what was silent goes on, who was refused may come."""
        self._order(self._serve)

    def close(self) -> None:
        """End the proxy and its connections."""
        self._order(None)
        self._thread.join()

    # In the thread of the proxy

    def _order(self, what: Callable[[], None] | None) -> None:
        done = threading.Event()
        self._orders.put((what, done))
        self._bell.send(b"\0")
        assert done.wait(30)

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select(self._release_held()):
                if key.fileobj is self._rung:
                    self._rung.recv(1)
                    what, done = self._orders.get()
                    if what is None:
                        self._end()
                        done.set()
                        return
                    what()
                    done.set()
                    break  # what was ready may be closed by now
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    if key.fileobj in self._peers:
                        self._pass(key.fileobj)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(self._server, timeout=5)
        except OSError:
            _reset(client)
            return
        self._servers.add(server)
        for each, peer in ((client, server), (server, client)):
            each.settimeout(5)
            self._peers[each] = peer
            if not self._silent:
                self._selector.register(each, selectors.EVENT_READ)

    def _pass(self, source: socket.socket) -> None:
        if source in self._losing and self._is_lost(source):
            return
        try:
            content = source.recv(_CHUNK)
            if not content:
                self._drop(source)
            elif source in self._mute:
                return
            elif self._answer is not None:
                source.sendall(self._answer)
            else:
                self._note_request(source, content)
                self._peers[source].sendall(content)
        except OSError:
            self._drop(source)

    def _note_request(self, source: socket.socket, content: bytes) -> None:
        loss, peer = self._loss, self._peers[source]
        if loss and source not in self._servers and loss.containing in content:
            loss.times -= 1
            self._loss = loss if loss.times else None
            self._losing[peer] = loss

    def _is_lost(self, server: socket.socket) -> bool:
        """Do with the reply that has come what is to become of it; whether not to pass it on."""
        loss = self._losing.pop(server)
        self.losses += 1
        if loss.how == "eat":
            self._mute |= {server, self._peers[server]}
            return False  # it is read, and goes nowhere
        if loss.how == "lose":
            self._drop(server)
        else:
            self._selector.unregister(server)
            self._held[server] = time.monotonic() + loss.seconds
        return True

    def _release_held(self) -> float | None:
        """Let go what was held for long enough; in how many seconds there will be more."""
        now = time.monotonic()
        for server in [server for server, until in self._held.items() if until <= now]:
            del self._held[server]
            self._selector.register(server, selectors.EVENT_READ)
        return min(self._held.values()) - now if self._held else None

    def _drop(self, source: socket.socket) -> None:
        for each in (source, self._peers[source]):
            del self._peers[each]
            self._losing.pop(each, None)
            self._held.pop(each, None)
            self._servers.discard(each)
            self._mute.discard(each)
            with suppress(KeyError):
                self._selector.unregister(each)
            _reset(each)

    def _reset_all(self) -> None:
        while self._peers:
            self._drop(next(iter(self._peers)))

    def _stop_listening(self) -> None:
        self._reset_all()
        self._selector.unregister(self._listener)
        self._listener.close()

    def _lose(self, loss: _Loss) -> None:
        self._loss = loss

    def _lead_to(self, server_port: int) -> None:
        self._server = ("127.0.0.1", server_port)

    def _fall_silent(self) -> None:
        self._silent = True
        self._held.clear()
        for each in self._peers:
            with suppress(KeyError):
                self._selector.unregister(each)

    def _forget_all(self) -> None:
        self._held.clear()
        for each in self._peers:
            with suppress(KeyError):
                self._selector.unregister(each)

    def _set_answer(self, reply: bytes) -> None:
        self._reset_all()
        self._answer = reply

    def _serve(self) -> None:
        self._loss = None
        if self._answer is not None:
            self._reset_all()
            self._answer = None
        if self._silent:
            self._silent = False
            for each in self._peers:
                self._selector.register(each, selectors.EVENT_READ)
        if self._listener.fileno() == -1:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self._selector.register(self._listener, selectors.EVENT_READ)

    def _end(self) -> None:
        self._reset_all()
        self._listener.close()
        self._selector.close()
        self._bell.close()
        self._rung.close()


def _reset(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    connection.close()
