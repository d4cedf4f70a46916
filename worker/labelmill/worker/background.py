"""Background work: what that waits for other machines, beside the stage that began it."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple


class _Work(NamedTuple):
    jobs: int
    future: Future[None]


class BackgroundWork:
    """Does things in threads of their own, and counts the jobs that they are for.

    The threads hold up neither each other, nor the stage, nor the end of the process. To be used
    by one thread.

    Parameters:
        on_done: called, from any thread, when something is done.
    """

    def __init__(self, on_done: Callable[[], None]) -> None:
        self._on_done = on_done
        self._begun: dict[str, list[_Work]] = defaultdict(list)

    def begin(self, model: str, jobs: int, work: Callable[[], None]) -> None:
        """Do this for that many jobs of a model."""
        future: Future[None] = Future()
        self._begun[model].append(_Work(jobs, future))
        threading.Thread(
            target=self._run, args=(work, future), name=f"prepare {model}", daemon=True
        ).start()

    def jobs(self, model: str) -> int:
        """For how many jobs of a model something is being done.

        Raises:
            BaseException: what ended one of them; told once.
        """
        works = self._begun[model]
        for work in [each for each in works if each.future.done()]:
            works.remove(work)
            work.future.result()
        return sum(work.jobs for work in works)

    def _run(self, work: Callable[[], None], future: Future[None]) -> None:
        try:
            work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(None)
        self._on_done()
