"""A worker with a fault built in: ``python -m tests.support.faulty <fault> <argument> worker …``.

``kill <point>``
    ends the process with SIGKILL the first time that it comes to a point; see ``POINTS``.
``clock <seconds>``
    the process takes the time to be so much later than it is.
``web <port>``
    every name of the web has one public address, where a server of this machine answers.

What follows is the command line of ``labelmill``.
"""

from __future__ import annotations

import datetime
import functools
import importlib
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple


class Point(NamedTuple):
    """A moment in the life of a group: before or after a function is called."""

    function: str
    after: bool = False


POINTS = {
    "take": Point("labelmill.broker.leases.leases:Leases.take", after=True),
    "prepare": Point("tests.support.engines:ScriptedEngine.prepare"),
    "forward": Point("tests.support.engines:ScriptedEngine.forward"),
    "forward-done": Point("tests.support.engines:ScriptedEngine.forward", after=True),
    "commit": Point("labelmill.db.results:Results.write"),
    "inserted": Point("labelmill.db.repository:insert_missing", after=True),
    "committed": Point("labelmill.db.results:Results.write", after=True),
    "acknowledged": Point("labelmill.broker.leases.leases:Leases.ack", after=True),
}


def kill_at(name: str) -> None:
    """Have this process killed at a point, once something is in its hands."""
    point = POINTS[name]
    module, _, path = point.function.partition(":")
    *parents, attribute = path.split(".")
    owner: Any = importlib.import_module(module)
    for parent in parents:
        owner = getattr(owner, parent)
    function: Callable[..., Any] = getattr(owner, attribute)

    @functools.wraps(function)
    def killed(*arguments: Any, **options: Any) -> Any:
        answer = function(*arguments, **options) if point.after else None
        if name != "take" or answer.leases:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(owner, attribute, killed)


def shift_clock(seconds: float) -> None:
    """Make this process take the time to be so much later; to be called before all imports."""
    real_time, real = time.time, datetime.datetime
    shift = datetime.timedelta(seconds=seconds)

    class Kind(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, real)

    class Shifted(real, metaclass=Kind):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return real.now(tz) + shift

        @classmethod
        def utcnow(cls) -> Any:
            return real.now(datetime.UTC).replace(tzinfo=None) + shift

    time.time = lambda: real_time() + seconds
    datetime.datetime = Shifted  # type: ignore[misc]


def lead_the_web_to(port: int) -> None:
    """Make this process find every web host on a port of this machine."""
    from labelmill.images.web import fetch
    from tests.support.web import FakeNetwork

    class Everywhere(FakeNetwork):
        def __init__(self) -> None:
            super().__init__(defaultdict(lambda: [["93.184.216.34"]]), port)

    fetch.Network = Everywhere  # type: ignore[misc, assignment]


def main() -> None:
    """Build the fault in, and be ``labelmill``."""
    fault, argument = sys.argv[1:3]
    del sys.argv[1:3]
    if fault == "clock":
        shift_clock(float(argument))
    elif fault == "web":
        lead_the_web_to(int(argument))
    else:
        kill_at(argument)
    from labelmill.cli.main import main as labelmill

    labelmill()


if __name__ == "__main__":
    main()
