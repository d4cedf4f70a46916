"""Access: who may ask for what."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from labelmill.gateway.auth import Caller
from labelmill.gateway.problems import Problem
from labelmill.gateway.secrets import Scope
from labelmill.gateway.services import Shared

_EVERYTHING = frozenset(Scope)
_SAFE = frozenset({"GET", "HEAD"})
_ANYBODY = "local"
_OF_PROXIES = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")

_bearer = HTTPBearer(
    auto_error=False,
    description="A token of `labelmill token create`; none is needed on loopback without tokens.",
)
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def is_loopback(host: str) -> bool:
    """Whether a host's name or address means this machine alone."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def allowing(scope: Scope) -> Callable[[Request, Shared, _Credentials], Awaitable[Caller]]:
    """A dependency that lets those pass who have a scope, and counts what they ask for."""

    async def authorize(request: Request, services: Shared, credentials: _Credentials) -> Caller:
        if services.is_open and not await services.authenticator.has_tokens():
            check_is_local(request)
            caller = Caller(_ANYBODY, _EVERYTHING)
        else:
            caller = await _bearer_of(credentials, request, services)
            if not caller.may(scope):
                raise Problem(403, "forbidden", f"this token has not the scope {scope}")
            await services.rates.take(caller.id)
        return caller

    return authorize


async def _bearer_of(
    credentials: HTTPAuthorizationCredentials | None, request: Request, services: Shared
) -> Caller:
    challenge = {"WWW-Authenticate": "Bearer"}
    if credentials is None:
        raise Problem(401, "token_missing", "send Authorization: Bearer lm_…", challenge)
    if not services.authenticator.remember(credentials.credentials):
        # Before the database is asked, so that nobody keeps it busy by guessing.
        await services.rates.take(request.client.host if request.client else "unknown")
    caller = await services.authenticator.find(credentials.credentials)
    if caller is None:
        raise Problem(401, "token_unknown", "no such token, or it was revoked", challenge)
    return caller


def check_is_local(request: Request) -> None:
    """Let no other web site act through the browser of somebody on this machine.

    Raises:
        Problem: the request was made for another host (DNS rebinding), or by another site, or came
            through a proxy, whose callers are not on this machine.
    """
    if any(name in request.headers for name in _OF_PROXIES):
        raise Problem(
            403, "forbidden_proxy", "through a proxy everybody needs one: labelmill token create"
        )
    host = _hostname(f"//{request.headers.get('host', '')}")
    if host is None or not is_loopback(host):
        raise Problem(
            403, "forbidden_host", "ask for localhost; for other names: labelmill token create"
        )
    if request.method in _SAFE:
        return
    site = request.headers.get("sec-fetch-site", "none")
    origin = request.headers.get("origin")
    if site not in ("none", "same-origin") or (origin is not None and not _is_own(origin, request)):
        raise Problem(403, "forbidden_origin", "another web site may not do this")


def _is_own(origin: str, request: Request) -> bool:
    return origin.lower() == f"{request.url.scheme}://{request.headers['host']}".lower()


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


Submitter = Annotated[Caller, Depends(allowing(Scope.SUBMIT))]
Reader = Annotated[Caller, Depends(allowing(Scope.READ))]
Admin = Annotated[Caller, Depends(allowing(Scope.ADMIN))]
