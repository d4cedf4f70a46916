"""The command ``labelmill cancel``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from labelmill.cli.lines import print_json
from labelmill.client import Client
from labelmill.core.errors import UnknownJob

_stderr = Console(stderr=True)


def cancel(
    ids: Annotated[list[str], typer.Argument(help="The ids of the jobs.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object each.")] = False,
) -> None:
    """Withdraw jobs that have no result yet: each gets a row, failed / revoked, and no other.

    The exit code is 1 if one of them had its result already, or is not in the ledger.

    Example:

      labelmill cancel 019aa51c-7d52-7c1e-a5f0-0c5d5f2f1c11
    """
    done = 0
    with Client() as client:
        for each in ids:
            try:
                outcome = "cancelled" if client.cancel(each) else "has its result"
            except UnknownJob:
                outcome = "is not in the ledger"
            done += outcome == "cancelled"
            if as_json:
                print_json({"id": each, "cancelled": outcome == "cancelled", "outcome": outcome})
            else:
                _stderr.print(f"{each} {outcome}", markup=False, highlight=False, soft_wrap=True)
    if done < len(ids):
        raise typer.Exit(1)
