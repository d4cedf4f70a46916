"""Fetching from the web: checked, dialled, and read within limits."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse

from labelmill.core.errors import ErrorCode, JobError
from labelmill.core.retry import RetryPolicy
from labelmill.images.web.addresses import is_public
from labelmill.images.web.exchange import ask
from labelmill.images.web.hosts import HostAllowlist
from labelmill.images.web.network import Deadline, Network
from labelmill.images.web.url import Url, parse_url
from labelmill.media.files import too_large

_MAX_REDIRECTS = 2
_REDIRECTS = {301, 302, 303, 307, 308}
_MISSING = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
_PASSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}

_TRIES = 3
_PAUSE_SECONDS = 0.5


class WebFetcher:
    """Reads images from hosts of an allowlist, at addresses that are public.

    Parameters:
        hosts: the hosts that may be asked; redirects may lead to them too.
        max_bytes: the largest body that is read.
        seconds: how long one image may take, from the first lookup to the last byte of the last
            try.
        network: how names are resolved and addresses dialled.
        tls: which certificates are trusted; by default those that the system trusts.
    """

    def __init__(
        self,
        hosts: HostAllowlist,
        max_bytes: int,
        seconds: float,
        network: Network | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._hosts = hosts
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._network = network or Network()
        self._tls = tls or ssl.create_default_context()

    def fetch(self, uri: str) -> bytes:
        """The body that a URL is answered with.

        A host that does not answer, or answers that it cannot now, is asked up to three times.

        Raises:
            JobError: the URL, its host, or one of its addresses is not allowed, or there is no
                such image, or it is too large or cannot be fetched in time.
        """
        url = parse_url(uri)
        deadline = Deadline(self._seconds)
        tries = RetryPolicy(
            errors=(_Away,),
            first_pause=_PAUSE_SECONDS,
            attempts=_TRIES,
            seconds=self._seconds,
            overruns=False,
        )
        try:
            return tries.call(self._follow, url, deadline)
        except _Away as error:
            raise JobError(
                ErrorCode.IMAGE_UNAVAILABLE,
                f"{error.host} did not give the image ({error.why}); submit the job again later",
            ) from None

    def _follow(self, url: Url, deadline: Deadline) -> bytes:
        for _ in range(_MAX_REDIRECTS + 1):
            with self._asked(url, deadline) as response:
                if response.status not in _REDIRECTS:
                    return self._body(response, url)
                location = response.getheader("Location", "")
            url = url.redirected(_utf8(location))
        raise JobError(
            ErrorCode.IMAGE_UNREADABLE,
            f"the image is behind more than {_MAX_REDIRECTS} redirects; send where they end",
        )

    @contextmanager
    def _asked(self, url: Url, deadline: Deadline) -> Iterator[HTTPResponse]:
        """The answer of a host that was checked; what fails on the way becomes one error."""
        if not self._hosts.allows(url):
            raise JobError(
                ErrorCode.IMAGE_FORBIDDEN,
                f"this worker does not fetch {url.scheme}://{url.host}; its operator allows hosts "
                "with LABELMILL_IMAGE_HOSTS",
            )
        try:
            addresses = self._addresses(url, deadline)
            with (
                self._connected(url, addresses, deadline) as connection,
                ask(connection, url, deadline) as response,
            ):
                yield response
        except ssl.SSLCertVerificationError:
            raise JobError(
                ErrorCode.IMAGE_UNREADABLE,
                f"the certificate of {url.host} is not valid, or not for that name",
            ) from None
        except TimeoutError:
            raise _Away(url.host, "it took too long") from None
        except socket.gaierror:
            raise _Away(url.host, "its name cannot be resolved") from None
        except (OSError, HTTPException) as error:
            raise _Away(url.host, type(error).__name__) from None

    def _addresses(self, url: Url, deadline: Deadline) -> list[str]:
        addresses = list(self._network.resolve(url.host, deadline))
        if not all(is_public(address) for address in addresses):
            raise JobError(
                ErrorCode.IMAGE_FORBIDDEN,
                f"{url.host} has an address that is not on the public Internet; put the image "
                "under the worker's image root or into an object store",
            )
        return addresses

    def _connected(self, url: Url, addresses: list[str], deadline: Deadline) -> socket.socket:
        connection = self._dialled(url.port, addresses, deadline)
        if url.scheme == "http":
            return connection
        try:
            connection.settimeout(deadline.remaining())
            return self._tls.wrap_socket(connection, server_hostname=url.host)
        except BaseException:
            connection.close()
            raise

    def _dialled(self, port: int, addresses: list[str], deadline: Deadline) -> socket.socket:
        failure = OSError()
        for position, address in enumerate(addresses):
            # One that swallows everything leaves time for the others.
            seconds = deadline.remaining() / (len(addresses) - position)
            try:
                return self._network.connect(address, port, seconds)
            except OSError as error:
                failure = error
        raise failure

    def _body(self, response: HTTPResponse, url: Url) -> bytes:
        status = response.status
        if status in _MISSING:
            raise JobError(ErrorCode.IMAGE_NOT_FOUND, f"{url.host} has no such image")
        if status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _Away(url.host, f"it answered {status}")
        if status != HTTPStatus.OK:
            raise JobError(ErrorCode.IMAGE_UNREADABLE, f"{url.host} answered {status}, not 200")
        if response.getheader("Content-Encoding", "identity").lower() != "identity":
            raise JobError(
                ErrorCode.IMAGE_UNREADABLE,
                f"{url.host} sends the image compressed, which was not asked for",
            )
        if (response.length or 0) > self._max_bytes:
            raise too_large(self._max_bytes)
        content = response.read(self._max_bytes + 1)
        if len(content) > self._max_bytes:
            raise too_large(self._max_bytes)
        if response.length:  # of what was announced, not all has come
            raise _Away(url.host, "it broke off")
        return content


class _Away(Exception):
    """A host that may well answer the next time."""

    def __init__(self, host: str, why: str) -> None:
        super().__init__(host, why)
        self.host = host
        self.why = why


def _utf8(header: str) -> str:
    """A header's value, which ``http.client`` reads as Latin-1, as what it is meant to be."""
    return header.encode("latin-1", "replace").decode("utf-8", "replace")
