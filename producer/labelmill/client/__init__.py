"""The Python API: submit jobs and read their results.

::

    from labelmill.client import Client

What is here is public, and light to import: redis and SQLAlchemy are loaded by the first
:class:`Client`. :class:`ResultBackend` is here too, for an app that has Celery; ``import *``
leaves it out, which would load Celery.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from labelmill.client.client import Client, ImageInput, NewJob, Submitted
from labelmill.core.errors import (
    BrokerUnavailable,
    ConfigurationError,
    DatabaseUnavailable,
    DuplicateJob,
    ErrorCode,
    JobError,
    LabelmillError,
    SchemaOutOfDate,
    ServiceUnavailable,
    UnknownJob,
    WaitTimeout,
)
from labelmill.core.result import LabelScore
from labelmill.core.states import Status

if TYPE_CHECKING:
    from labelmill.client.backend import ResultBackend as ResultBackend
    from labelmill.client.transactions import Transaction
    from labelmill.core.result import Result
    from labelmill.db.runs import RunProgress

__all__ = [
    "BrokerUnavailable",
    "Client",
    "ConfigurationError",
    "DatabaseUnavailable",
    "DuplicateJob",
    "ErrorCode",
    "ImageInput",
    "JobError",
    "LabelScore",
    "LabelmillError",
    "NewJob",
    "Result",
    "RunProgress",
    "SchemaOutOfDate",
    "ServiceUnavailable",
    "Status",
    "Submitted",
    "Transaction",
    "UnknownJob",
    "WaitTimeout",
]

_HEAVY = {
    "Result": "labelmill.core.result",
    "ResultBackend": "labelmill.client.backend",
    "RunProgress": "labelmill.db.runs",
    "Transaction": "labelmill.client.transactions",
}


if not TYPE_CHECKING:  # to a type checker it would say that there is every name

    def __getattr__(name: str) -> object:
        if name in _HEAVY:
            return getattr(import_module(_HEAVY[name]), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
