"""The network: names resolved and addresses dialled, before a deadline."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Sequence
from ipaddress import ip_address

# A resolver that hangs keeps its threads until it gives up; more than these are not started.
_MAX_LOOKUPS = 64


class Deadline:
    """A point in time.

    Parameters:
        seconds: from now.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """The seconds until then.

        Raises:
            TimeoutError: it has passed.
        """
        remaining = self._end - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        return remaining


class Network:
    """The machine's own resolver and its routes; no proxy, whatever the environment says."""

    def __init__(self) -> None:
        self._lookups = threading.BoundedSemaphore(_MAX_LOOKUPS)

    def resolve(self, host: str, deadline: Deadline) -> Sequence[str]:
        """The addresses of a name, in the order in which they are to be tried.

        Raises:
            OSError: it has none, or the resolver does not answer in time.
        """
        if not self._lookups.acquire(timeout=deadline.remaining()):
            raise TimeoutError
        answers: queue.SimpleQueue[Sequence[str] | OSError] = queue.SimpleQueue()

        def look_up() -> None:
            try:
                answers.put(_look_up(host))
            except (OSError, UnicodeError) as error:
                answers.put(error if isinstance(error, OSError) else OSError())
            finally:
                self._lookups.release()

        # getaddrinfo knows no deadline. Nor does it hold up the end of the process like this.
        threading.Thread(target=look_up, name="resolve", daemon=True).start()
        try:
            answer = answers.get(timeout=deadline.remaining())
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(answer, OSError):
            raise answer
        return answer

    def connect(self, address: str, port: int, seconds: float) -> socket.socket:
        """A connection to this address, and no other.

        Raises:
            OSError: there is none within that many seconds.
        """
        family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(seconds)
            connection.connect((address, port))
        except BaseException:
            connection.close()
            raise
        return connection


def _look_up(host: str) -> Sequence[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
