"""The environment of another Celery app, with which ours may have to share it."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click
from click.core import ParameterSource

from labelmill.core import exit_codes

# Celery reads them whatever its app says, and takes each option of its commands from CELERY_*, too:
# the broker, the queues, the pool, a module of settings, a loader, a debugger's port.
_PREFIX = "CELERY_"
_OTHERS = ("FORKED_BY_MULTIPROCESSING",)

_OPTIONS = ("broker", "result_backend", "loader", "config")


def celerys_context() -> click.Context | None:
    """Where Celery's own command line is at; None in a process that it has not started."""
    context = click.get_current_context(silent=True)
    return context if context and context.find_root().command.name == "celery" else None


def refuse(why: str) -> NoReturn:
    """End Celery's command line in one line."""
    click.echo(f"Error: {why}", err=True)
    sys.exit(exit_codes.USAGE)


def forget_others() -> list[str]:
    """Take the variables of other Celery apps out of this process; returns their names.

    To be called before the app is made. What ``celery`` was given by word of mouth and not by the
    environment is refused, as it can only be meant for ours.

    Raises:
        SystemExit: with such an option.
    """
    context = celerys_context()
    for option in _OPTIONS:
        if context and context.get_parameter_source(option) is ParameterSource.COMMANDLINE:
            refuse(
                f"--{option.replace('_', '-')} is not for this app: LABELMILL_BROKER_URL says where"
                " worker, control and beat connect; see docs/reference/settings.md"
            )
    names = [name for name in os.environ if name.startswith(_PREFIX) or name in _OTHERS]
    for name in names:
        del os.environ[name]
    return sorted(names)
