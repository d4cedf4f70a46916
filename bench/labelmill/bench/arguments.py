"""The arguments that the benchmarks' scripts share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from labelmill.bench.console import RESULTS


def parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """A parser of ``--repeats``, ``--smoke`` and ``--results``, for more to be added."""
    parse = argparse.ArgumentParser(
        program,
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parse.add_argument("--repeats", type=count(), default=3, help="how often each side is measured")
    parse.add_argument(
        "--smoke", action="store_true", help="tiny sizes, to see that it runs: no figure counts"
    )
    parse.add_argument(
        "--results", type=Path, default=RESULTS, help="the folder for JSON files and plots"
    )
    return parse


def count(most: int | None = None) -> Callable[[str], int]:
    """The type of an argument that is a whole number from 1 on."""

    def parse(text: str) -> int:
        number = int(text)
        if number < 1 or (most is not None and number > most):
            raise argparse.ArgumentTypeError(f"{text} is not from 1 to {most or 'any number'}")
        return number

    parse.__name__ = "whole number"  # what argparse calls it
    return parse
