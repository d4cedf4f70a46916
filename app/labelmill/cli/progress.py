"""Progress: what people and programs see of a submission on standard error while it goes on."""

from __future__ import annotations

import json
import sys
import time
from enum import StrEnum
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.text import Text

from labelmill.bulk.progress import SubmitProgress
from labelmill.bulk.view import View

_REDRAW_SECONDS = 0.25
_JSON_SECONDS = 1.0


class ViewKind(StrEnum):
    """How progress is shown."""

    AUTO = "auto"
    BAR = "bar"
    LINES = "lines"
    JSON = "json"
    NONE = "none"


class BarProgress(View):
    """On a terminal: a bar, and a line of numbers below it."""

    every = _REDRAW_SECONDS

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def show(self, progress: SubmitProgress) -> None:
        """Draw it again."""
        self._live.update(_drawn(progress, self._console.width), refresh=True)

    def say(self, message: str) -> None:
        """Above the bar."""
        self._console.print(escape(message), highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def close(self) -> None:
        """Take it off the terminal."""
        self._live.stop()


class LinesProgress(View):
    """In a pipe or a log file: a line every few seconds, with the time, without control codes."""

    def show(self, progress: SubmitProgress) -> None:
        """One line."""
        part = progress.part
        percent = "" if part is None else f" {part:4.0%}"
        self.say(f"{time.strftime('%H:%M:%S')}{percent}  {', '.join(figures(progress))}")

    def say(self, message: str) -> None:
        """On a line of its own."""
        sys.stderr.write(f"{message}\n")
        sys.stderr.flush()


class JsonProgress(View):
    """For programs: one JSON object a second."""

    every = _JSON_SECONDS

    def show(self, progress: SubmitProgress) -> None:
        """One object."""
        eta, rate = progress.eta, progress.rate
        self._write(
            {
                "event": "progress",
                **progress.as_json(),
                "phase": "submitting" if progress.sending else "waiting",
                "part": None if progress.part is None else round(progress.part, 4),
                "rate": None if rate is None else round(rate, 1),
                "eta_seconds": None if eta is None else round(eta, 1),
                "waiting_for": progress.waiting_for,
            }
        )

    def say(self, message: str) -> None:
        """An object of its own."""
        self._write({"event": "message", "message": message})

    def _write(self, content: dict[str, object]) -> None:
        sys.stderr.write(json.dumps(content, ensure_ascii=False) + "\n")
        sys.stderr.flush()


class Silent(LinesProgress):
    """Messages alone."""

    def show(self, progress: SubmitProgress) -> None:
        """Nothing."""


def view_of(kind: ViewKind) -> View:
    """The view of that kind; ``auto`` is a bar on a terminal and lines elsewhere."""
    console = Console(stderr=True)
    if kind is ViewKind.AUTO:
        kind = ViewKind.BAR if console.is_terminal and not console.is_dumb_terminal else "lines"  # type: ignore[assignment]
    match kind:
        case ViewKind.BAR:
            return BarProgress(console)
        case ViewKind.JSON:
            return JsonProgress()
        case ViewKind.NONE:
            return Silent()
        case _:
            return LinesProgress()


def figures(progress: SubmitProgress) -> list[str]:
    """How far it is, in words."""
    parts = [f"{progress.sent:,} sent"]
    if progress.before:
        parts.append(f"{progress.before:,} before")
    if progress.rejected:
        parts.append(f"{progress.rejected:,} rejected")
    parts += [f"{progress.done:,} done", f"{progress.failed:,} failed"]
    if progress.waiting_for:
        return [*parts, f"waiting: {progress.waiting_for}"]
    if progress.rate is not None:
        parts.append(f"{progress.rate:,.0f}/s")
    if progress.eta is not None:
        parts.append(f"{duration(progress.eta)} left")
    return parts


def duration(seconds: float) -> str:
    """Seconds as people say them: ``42 s``, ``7 min``, ``3 h 20 min``."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def _drawn(progress: SubmitProgress, width: int) -> RenderableType:
    part = progress.part
    bar = ProgressBar(
        total=1.0 if part is not None else None,
        completed=part or 0.0,
        width=min(width, 60),
        pulse=part is None,
    )
    what = "submitting" if progress.sending else "classifying"
    percent = "" if part is None else f" {part:.0%}"
    head = Text(f"{what}{percent}", "bold")
    lines = [" · ".join(each for each in figures(progress) if not each.startswith("waiting: "))]
    if progress.waiting_for:
        lines.append(f"waiting: {progress.waiting_for}")
    return Group(head, bar, *(Text(each, no_wrap=True, overflow="ellipsis") for each in lines))
