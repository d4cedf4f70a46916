"""The confusion matrix, for a terminal and as a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from labelmill.export.canvas import Canvas

_MOST_LABELS = 30
_OTHERS = "(others)"

_CELL, _MARGIN, _TITLE = 44, 16, 64
_NAME_CHARACTERS, _CHARACTER = 22, 7.0
_INK, _QUIET = "#1b1f27", "#5d6675"
_RIGHT, _WRONG = (34, 94, 168), (192, 57, 47)


@dataclass(frozen=True, slots=True)
class Confusion:
    """How many rows of each truth (first) got each label (second)."""

    labels: tuple[str, ...]
    counts: Mapping[tuple[str, str], int]

    def row(self, truth: str) -> list[int]:
        """The numbers of one truth, label by label."""
        return [self.counts.get((truth, label), 0) for label in self.labels]


def confusion(pairs: Mapping[tuple[str, str], int]) -> Confusion:
    """The matrix of the most frequent labels; 30 at most, the others together."""
    frequency: Counter[str] = Counter()
    for (truth, label), count in pairs.items():
        frequency[truth] += count
        frequency[label] += count
    kept = {label for label, _ in frequency.most_common(_MOST_LABELS)}
    counts: Counter[tuple[str, str]] = Counter()
    for (truth, label), count in pairs.items():
        counts[truth if truth in kept else _OTHERS, label if label in kept else _OTHERS] += count
    others = (_OTHERS,) if len(frequency) > len(kept) else ()
    return Confusion((*sorted(kept), *others), counts)


def size(matrix: Confusion) -> tuple[int, int]:
    """The width and height that :func:`draw` needs, in pixels."""
    names, cells = _names_width(matrix), _CELL * len(matrix.labels)
    return (
        round(max(names + cells + 2 * _MARGIN, 420)),
        _TITLE + cells + 28 + _MARGIN,
    )


def draw(matrix: Confusion, canvas: Canvas, title: str) -> None:
    """Draw the matrix: a row for each truth, shaded by its share of that truth."""
    width, height = size(matrix)
    canvas.rectangle(0, 0, width, height, "#ffffff")
    canvas.text(_MARGIN, 22, title, 16, _INK)
    canvas.text(_MARGIN, 44, "rows: truth, columns: label given", 12, _QUIET)
    left = _MARGIN + _names_width(matrix)
    for line, truth in enumerate(matrix.labels):
        y = _TITLE + line * _CELL
        name = shortened(truth, _NAME_CHARACTERS)
        shown = f"{line + 1}  {name}" if _numbered(matrix) else name
        canvas.text(left - 8, y + _CELL / 2, shown, 12, _INK, "end")
        counts = matrix.row(truth)
        for place, count in enumerate(counts):
            share = count / (sum(counts) or 1)
            x = left + place * _CELL
            color = _RIGHT if place == line else _WRONG
            canvas.rectangle(x + 1, y + 1, _CELL - 2, _CELL - 2, _shade(color, share))
            if count:
                ink = "#ffffff" if share > 0.5 else _INK
                canvas.text(x + _CELL / 2, y + _CELL / 2, _number(count), 12, ink, "middle")
    for place, label in enumerate(matrix.labels):
        shown = str(place + 1) if _numbered(matrix) else label
        x = left + place * _CELL + _CELL / 2
        y = _TITLE + len(matrix.labels) * _CELL + 14
        canvas.text(x, y, shown, 12, _INK, "middle")


def _numbered(matrix: Confusion) -> bool:
    """Whether the columns are headed by numbers, since the names are wider than a cell."""
    return any(len(label) * _CHARACTER > _CELL - 4 for label in matrix.labels)


def _names_width(matrix: Confusion) -> float:
    longest = max((len(shortened(label, _NAME_CHARACTERS)) for label in matrix.labels), default=0)
    return (longest + (4 if _numbered(matrix) else 0)) * _CHARACTER + 12


def _shade(color: tuple[int, int, int], share: float) -> str:
    strength = 0.04 + 0.96 * share if share else 0.03
    return "#" + "".join(f"{round(255 + (part - 255) * strength):02x}" for part in color)


def _number(count: int) -> str:
    if count < 10_000:
        return str(count)
    return f"{count / 1000:.0f}k" if count < 1_000_000 else f"{count / 1e6:.1f}M"


def shortened(name: str, characters: int) -> str:
    """The name, cut to so many characters."""
    return name if len(name) <= characters else f"{name[: characters - 1]}…"
