"""Extras: which packages a part of Labelmill needs that the light client does not bring."""

from __future__ import annotations

from importlib.util import find_spec

GATEWAY = ("fastapi", "limits", "PIL", "python_multipart", "uvicorn")
"""What ``labelmill[gateway]`` brings, by the names under which it is imported."""


def missing(packages: tuple[str, ...]) -> list[str]:
    """Those of the packages that are not installed."""
    return [package for package in packages if find_spec(package) is None]
