"""A digest: what a report says of any number of results, in one pass and bounded memory."""

from __future__ import annotations

import heapq
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from labelmill.db.results import ResultOutline

SCORE_BINS = 20
_SAMPLED_LABELS = 200


@dataclass(slots=True)
class Few:
    """Of many ids those with the greatest keys, the greatest first."""

    size: int
    _heap: list[tuple[float, str]] = field(default_factory=list)

    def add(self, key: float, id: str) -> None:
        """Take another id into account."""
        if len(self._heap) < self.size:
            heapq.heappush(self._heap, (key, id))
        elif key > self._heap[0][0]:
            heapq.heapreplace(self._heap, (key, id))

    @property
    def ids(self) -> list[str]:
        """The ids that are left."""
        return [id for _, id in sorted(self._heap, reverse=True)]


@dataclass(slots=True)
class LabelSamples:
    """Jobs to look at for one label."""

    highest: Few
    lowest: Few
    chance: Few


@dataclass(slots=True)
class Digest:
    """Counts and samples.

    Attributes:
        scores: the first labels' scores in 20 equal bins of 0 to 1.
        samples: of the labels that came first, 200 at most.
        failures: some jobs of each error code.
        models: checkpoints with their revisions.
    """

    samples_each: int
    succeeded: int = 0
    failed: int = 0
    score_sum: float = 0.0
    labels: Counter[str] = field(default_factory=Counter)
    scores: list[int] = field(default_factory=lambda: [0] * SCORE_BINS)
    errors: Counter[str] = field(default_factory=Counter)
    samples: dict[str, LabelSamples] = field(default_factory=dict)
    failures: dict[str, Few] = field(default_factory=dict)
    models: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)

    def add(self, result: ResultOutline) -> None:
        """Take another result into account."""
        # By chance, but the same each time: by the hash of the id.
        chance = zlib.crc32(result.id.encode())
        if result.error_code is not None:
            self.failed += 1
            self.errors[result.error_code] += 1
            few = self.failures.setdefault(result.error_code, Few(self.samples_each))
            few.add(chance, result.id)
            return
        self.succeeded += 1
        self.models[result.checkpoint, result.revision] += 1
        label, score = result.label or "", result.score or 0.0
        self.labels[label] += 1
        self.score_sum += score
        self.scores[min(max(int(score * SCORE_BINS), 0), SCORE_BINS - 1)] += 1
        samples = self.samples.get(label)
        if samples is None:
            if len(self.samples) == _SAMPLED_LABELS:
                return
            samples = LabelSamples(*(Few(self.samples_each) for _ in range(3)))
            self.samples[label] = samples
        samples.highest.add(score, result.id)
        samples.lowest.add(-score, result.id)
        samples.chance.add(chance, result.id)


def digest(results: Iterable[ResultOutline], samples_each: int) -> Digest:
    """The digest of all results, with so many samples of each kind."""
    total = Digest(samples_each)
    for result in results:
        total.add(result)
    return total
