"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

#: What the queue's figures depend on.
QUEUE_PACKAGES = ("celery", "kombu", "redis", "hiredis", "sqlalchemy", "psycopg")

#: What the models' figures depend on.
MODEL_PACKAGES = ("torch", "transformers", "tokenizers", "pillow", "numpy")


def facts(*packages: str) -> dict[str, object]:
    """The machine and the versions; the load tells whether others were at work on it."""
    return {
        "cpu": _cpu(),
        "cpus": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{package: _version(package) for package in packages},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
