"""The session: one ``labelmill submit`` of many rows, from its sources to its last words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from labelmill.broker.connection import open_broker
from labelmill.bulk.awaited import Awaited
from labelmill.bulk.blocks import BLOCK_ROWS, Block, Blocks, Rejected, read_ahead
from labelmill.bulk.outbox import outbox_of
from labelmill.bulk.pressure import Pressure
from labelmill.bulk.preview import Preview, preview, uri_of
from labelmill.bulk.rejects import Rejects, described, rejects_file
from labelmill.bulk.resume import resumed_plan, run_to_resume
from labelmill.bulk.submission import Submission
from labelmill.bulk.tally import Tally
from labelmill.bulk.target import warn_unserved
from labelmill.bulk.view import View
from labelmill.core.errors import ConfigurationError, LabelmillError, SourceError
from labelmill.core.ids import new_id
from labelmill.core.settings import BrokerSettings, DatabaseSettings, ImageSettings
from labelmill.db.filters import ResultFilter
from labelmill.db.queries import Queries
from labelmill.db.runs import NewRun, Runs
from labelmill.db.store import Store
from labelmill.media.uploads import UploadStore
from labelmill.sources.base import Source
from labelmill.sources.columns import Chosen, Wishes, choose, require
from labelmill.sources.ids import check_run
from labelmill.sources.jobs import JobMaker
from labelmill.sources.opening import open_source
from labelmill.sources.plan import Plan

_SHOWN_REJECTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the user wants; see ``labelmill submit --help``."""

    model: str | None
    plan: Plan | None
    wishes: Wishes
    run: str | None
    resume: bool
    accept_changes: bool
    max_waiting: int
    rejects: Path | None
    wait: bool
    as_json: bool


class Session:
    """One submission, as a person or a script sees it.

    Parameters:
        view: shows how far it is, and what is to be said beside.
        write: writes a line of what it is asked for: the run's id, or an object of JSON.
    """

    def __init__(self, wanted: Wanted, view: View, write: Callable[[str], None]) -> None:
        self._wanted = wanted
        self._view = view
        self._write = write
        self._told = 0
        self.tally = Tally(wanted.run or "", wanted.model or "")

    def run(self) -> None:
        """Submit everything, wait if that is wanted, and say what became of it.

        Raises:
            SourceError: there is nothing to submit, or a source cannot be read.
            ConfigurationError: what is wanted does not fit.
            ServiceUnavailable: Redis, the database or the upload store is away.
        """
        wanted = self._wanted
        with ExitStack() as stack:
            store = stack.enter_context(Store.open(DatabaseSettings().database_url))
            run, plan, sources, chosen = self._prepared(Runs(store.engine))
            tally = self.tally = Tally(run.id, run.model, total=_total(sources))
            url = BrokerSettings().broker_url
            outbox = stack.enter_context(outbox_of(url, run.id))
            stack.enter_context(outbox.held(self._view.say))
            reject = stack.enter_context(self._rejects())
            awaited = stack.enter_context(Awaited())
            warn_unserved(run.model, self._view.say)
            self._announce(run.id)
            broker = stack.enter_context(open_broker(url))
            stack.enter_context(self._view)
            submission = Submission(
                run=run,
                store=store,
                outbox=outbox,
                pressure=Pressure(broker, run.model, wanted.max_waiting),
                tally=tally,
                view=self._view,
                reject=reject,
                awaited=awaited,
            )
            maker = JobMaker(run.id, plan, chosen, _upload_store(plan))
            rows = min(BLOCK_ROWS, max(1, wanted.max_waiting // 2))
            try:
                submission.submit(self._watched(read_ahead(Blocks(maker, sources, rows))))
                if not tally.rows:
                    raise SourceError(f"there is nothing to submit in {run.source}")
                submission.finish()
                if wanted.wait:
                    submission.follow()
            except LabelmillError:
                self._say_how_to_resume()
                raise
        self._conclude()

    def preview(self) -> Preview:
        """Read everything, send nothing, and say what would be sent.

        Raises:
            SourceError: a source cannot be read.
        """
        plan, sources, chosen = self._opened(self._wanted.plan, None)
        run = self._wanted.run or new_id()
        tally = self.tally = Tally(run, self._wanted.model or "", total=_total(sources))
        maker = JobMaker(run, replace(plan, upload=False), chosen)

        def tick(seen: Preview) -> None:
            tally.before, tally.rejected = seen.jobs, seen.rejected
            self._view.update(tally)

        with self._rejects() as reject, self._view:
            blocks = read_ahead(Blocks(maker, sources))
            return preview(plan.source, chosen, blocks, reject, tick)

    def interrupted(self) -> None:
        """Say how to go on."""
        self._view.say("interrupted")
        self._say_how_to_resume()
        if self._wanted.as_json:
            self._write_json(state="interrupted")

    def _prepared(self, runs: Runs) -> tuple[NewRun, Plan, list[Source], Chosen]:
        """The run, new or to be resumed, and its sources."""
        wanted = self._wanted
        found = runs.get(wanted.run) if wanted.run is not None else None
        if wanted.resume or found is not None:
            found = run_to_resume(runs, wanted.run, wanted.model, wanted.plan)
            if wanted.model not in (None, found.model):
                raise ConfigurationError(
                    f"run {found.id} is for {found.model}, not for {wanted.model}"
                )
            plan = resumed_plan(found, wanted.plan, accept_changes=wanted.accept_changes)
            plan, sources, chosen = self._opened(plan, plan.chosen)
            id, model, created_at = found.id, found.model, found.created_at
        else:
            plan, sources, chosen = self._opened(wanted.plan, None)
            plan = plan.with_fingerprints()
            id, created_at = check_run(wanted.run or new_id()), datetime.now(UTC)
            model = wanted.model or ""
        run = NewRun(
            id=id, model=model, source=plan.source, plan=plan.to_json(), created_at=created_at
        )
        return run, plan, sources, chosen

    def _opened(
        self, plan: Plan | None, chosen: Chosen | None
    ) -> tuple[Plan, list[Source], Chosen]:
        if plan is None:
            raise ConfigurationError("say which SOURCE to submit; see --help")
        sources = [each for name in plan.sources for each in open_source(name, plan.form)]
        if not sources:
            raise SourceError(f"there is nothing to submit in {plan.source}")
        for source in sources:
            columns = source.columns()
            if chosen is None:
                chosen = choose(source.name, columns, self._wanted.wishes)
                if chosen.guessed and len(columns) > 1:
                    self._view.say(f"column of {chosen.kind}s: {chosen.content!r} (guessed)")
            else:
                require(source.name, columns, chosen.wanted)
            for note in source.notes:
                self._view.say(f"{source.name}: {note}")
        assert chosen is not None  # noqa: S101 - there is at least one source
        return replace(plan, chosen=chosen), sources, chosen

    def _watched(self, found: Iterator[Block | None]) -> Iterator[Block | None]:
        """The same blocks, if workers may read the first images; a warning if only some of them.

        Raises:
            ConfigurationError: all of the first block's are outside of the image root.
        """
        images = ImageSettings()
        looked = images.image_root is None
        for block in found:
            if block is not None and block.rows and not looked:
                looked = True
                outside = sum(images.is_outside(uri) for row in block.rows if (uri := uri_of(row)))
                if outside == len(block.rows):
                    raise ConfigurationError(images.refusal("the images are"))
                if outside:
                    some = f"{outside:,} of the first {len(block.rows):,} images are"
                    self._view.say(images.refusal(some))
            yield block

    @contextmanager
    def _rejects(self) -> Iterator[Rejects]:
        with rejects_file(self._wanted.rejects) as write:

            def reject(rejected: Rejected) -> None:
                write(rejected)
                self._told += 1
                if self._told <= _SHOWN_REJECTS:
                    self._view.say(f"  {described(rejected)}")
                elif self._told == _SHOWN_REJECTS + 1:
                    more = "" if self._wanted.rejects else "; --rejects FILE lists all"
                    self._view.say(f"  … and more{more}")

            yield reject

    def _announce(self, run: str) -> None:
        self._view.say(f"run {run}")
        if not self._wanted.as_json:
            self._write(run)

    def _say_how_to_resume(self) -> None:
        tally = self.tally
        if tally.sent or tally.before or tally.submitted:
            self._view.say(f"to go on: labelmill submit --resume {tally.run}")

    def _conclude(self) -> None:
        tally, view = self.tally, self._view
        view.say(
            f"{tally.sent:,} submitted, {tally.before:,} submitted before, "
            f"{tally.rejected:,} rejected"
        )
        errors: list[tuple[str, int]] = []
        if self._wanted.wait:
            view.say(f"{tally.succeeded:,} succeeded, {tally.failed:,} failed")
            if tally.failed:
                with Store.open(DatabaseSettings().database_url) as store:
                    wanted = ResultFilter(run_id=tally.run)
                    errors = Queries(store.engine).summary(wanted).errors
                for code, number in errors:
                    view.say(f"  {number:,} {code}")
                view.say(f"labelmill results --run {tally.run} --status failed")
        if self._wanted.as_json:
            self._write_json(state="done", errors=dict(errors))

    def _write_json(self, **more: object) -> None:
        self._write(json.dumps({**self.tally.as_json(), **more}, ensure_ascii=False))


def _total(sources: list[Source]) -> int | None:
    counts = [source.count() for source in sources]
    return None if None in counts else sum(count for count in counts if count is not None)


def _upload_store(plan: Plan) -> UploadStore | None:
    return UploadStore.open(BrokerSettings().upload_store) if plan.upload else None
