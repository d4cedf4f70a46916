"""The soak: all that can go wrong does, at random and under load, and what is lost is counted.

    python -m tests.soak --minutes 10
    python -m tests.soak --minutes 1 --faults worker-killed,redis-eat --seed 7
    python -m tests.soak --database sqlite

Workers, a reconciler and producers reach a real Redis and a real database, each by a way of its
own that can be made to fail. A trigger in the database writes down every change of a row; what was
lost, doubled or changed is counted from that. The exit code is 1 if anything is off.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

import tests.soak.faults  # noqa: F401 - makes them known
from tests.soak.faults.fault import FAULTS, Fault
from tests.soak.report import Report
from tests.soak.site import Site
from tests.soak.soak import Soak

_WORKERS = 3


def main() -> int:
    """Run it; the exit code."""
    options = _parser().parse_args()
    faults = [each for each in options.faults if each.needs in (None, options.database)]
    report = Report()
    report.tell("seed", options.seed)
    folder = Path(tempfile.mkdtemp(prefix="labelmill-soak-"))
    folder.chmod(0o755)  # PostgreSQL does not run as root
    with Site(folder, options.database, options.lease, _WORKERS) as site:
        soak = Soak(site, random.Random(options.seed), report)
        soak.run(faults, 60 * options.minutes, options.pause, options.rate)
    if report.off:
        report.tell("OFF", ", ".join(report.off))
        report.tell("logs", folder)
        return 1
    shutil.rmtree(folder)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="The faults: " + ", ".join(sorted(FAULTS)),
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--pause", type=float, default=3, help="seconds between faults, on average")
    parser.add_argument("--lease", type=float, default=5, help="seconds that a lease lasts")
    parser.add_argument("--rate", type=float, help="jobs a second; else half of what can be done")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument(
        "--faults",
        type=_faults,
        default=list(FAULTS.values()),
        metavar="NAMES",
        help="those to draw from, separated by commas; with a - before each, all but those",
    )
    return parser


def _faults(names: str) -> list[Fault]:
    words = names.split(",")
    if unknown := [each for each in words if each.removeprefix("-") not in FAULTS]:
        raise argparse.ArgumentTypeError(f"no such fault: {', '.join(unknown)}")
    if all(each.startswith("-") for each in words):
        return [each for name, each in FAULTS.items() if f"-{name}" not in words]
    return [FAULTS[each] for each in words]


if __name__ == "__main__":
    sys.exit(main())
