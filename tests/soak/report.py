"""The report: what was counted, and what of it is off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.soak.producers import Producer
from tests.soak.site import Site
from tests.soak.watch import Watch

_PROGRESS_S = 60.0
_SHOWN = 5


@dataclass
class Report:
    """Prints a line for each figure; knows which of them are off.

    Attributes:
        off: the figures that must be none, and are not.
    """

    off: list[str] = field(default_factory=list)

    def tell(self, what: str, value: object) -> None:
        """A figure that may be whatever it is."""
        print(f"{what:<13} {value}", flush=True)

    def none_of(self, what: str, found: Iterable[object]) -> None:
        """Things that there may be none of."""
        things = [str(each) for each in found]
        self.tell(what, len(things))
        if things:
            self.off.append(what)
            for each in things[:_SHOWN]:
                print(f"              {each}", flush=True)

    def rows(self, site: Site) -> None:
        """What became of the jobs, by the audit and by the rows."""
        submissions = site.submissions
        outcomes = site.audit.outcomes()
        changes = site.audit.changes()
        of_rows = [each for each in changes if each.relation == "results"]
        written = Counter(each.id for each in of_rows if each.event == "INSERT")
        self.tell("submitted", f"{len(submissions.acknowledged)} acknowledged")
        self.tell("rows", _counts(code or "succeeded" for code in outcomes.values()))
        self.none_of("lost", submissions.without(outcomes))
        self.none_of("doubled", (each for each, times in written.items() if times > 1))
        self.none_of("changed", (each for each in of_rows if each.event != "INSERT"))
        self.none_of("unaudited", outcomes.keys() ^ written.keys())
        self.none_of("unasked", outcomes.keys() - submissions.attempted)
        self.none_of(
            "wrong errors",
            (
                f"{job}: {code or 'succeeded'}"
                for job, code in outcomes.items()
                if code not in submissions.expected.get(job, (None,))
            ),
        )
        of_jobs = Counter(each.event for each in changes if each.relation == "jobs")
        self.tell("sent again", f"{of_jobs['UPDATE']}, withdrawn {of_jobs['DELETE']}")
        finished = {each.id: each.at for each in of_rows if each.event == "INSERT"}
        waits = (
            at - submissions.acknowledged[job]
            for job, at in finished.items()
            if job in submissions.acknowledged
        )
        self.tell("longest wait", f"{max(waits, default=0.0):.1f} s")

    def progress(self, watch: Watch, producers: Sequence[Producer]) -> None:
        """How long nothing went on."""
        self.tell("longest pause", f"{watch.longest_pause:.1f} s without a row, faults or not")
        for who, silence in watch.silences.items():
            after = f", after {silence.after}" if silence.after else ""
            self.tell("silence", f"{silence.longest:.1f} s of {who}{after}")
        self.none_of(
            "hung",
            (who for who, each in watch.silences.items() if each.longest >= _PROGRESS_S),
        )
        self.tell("spare entries", watch.most_spare)
        self.none_of("floods", [watch.most_spare] if watch.floods else [])
        calls = ", ".join(f"{each.longest_call:.1f} s" for each in producers)
        self.tell("longest calls", calls)
        self.none_of("strange errors", (error for each in producers for error in each.errors))

    def processes(self, site: Site, idle: Sequence[str]) -> None:
        """Who ended, and who does nothing at the end.

        Parameters:
            idle: the workers that wrote no row at the end, though there were jobs for all.
        """
        self.tell("starts", f"{sum(each.refused_starts for each in site.posts)} without a server")
        self.none_of("ends unasked", site.ends)
        self.none_of("idle workers", idle)

    def faults(self, happened: Counter[str], failed: Sequence[str]) -> None:
        """What went wrong on purpose."""
        self.tell("faults", happened.total())
        for name, times in sorted(happened.items()):
            print(f"              {times} × {name}", flush=True)
        self.none_of("broken faults", failed)


def _counts(values: Iterable[str]) -> str:
    counted = Counter(values)
    parts = ", ".join(f"{number} {value}" for value, number in counted.most_common())
    return f"{counted.total()} ({parts})"
