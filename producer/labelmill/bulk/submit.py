"""Submitting a run: one ``labelmill submit`` of many rows, from its sources to its last words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from labelmill.broker.connection import open_broker
from labelmill.broker.inspect import QueueInspector
from labelmill.bulk.backpressure import Backpressure
from labelmill.bulk.blocks import BLOCK_ROWS, Block, Blocks, Rejected, read_ahead
from labelmill.bulk.checkpoint import run_publisher
from labelmill.bulk.pending import PendingJobs
from labelmill.bulk.preview import Preview, preview, uri_of
from labelmill.bulk.progress import SubmitProgress
from labelmill.bulk.rejects import Rejects, described, rejects_file
from labelmill.bulk.resume import resumed_plan, run_to_resume
from labelmill.bulk.submission import Submission
from labelmill.bulk.target import warn_unserved
from labelmill.bulk.view import View
from labelmill.core.errors import ConfigurationError, LabelmillError, SourceError
from labelmill.core.ids import new_id
from labelmill.core.run import Run
from labelmill.core.settings import BrokerSettings, DatabaseSettings, ImageSettings
from labelmill.db.database import Database
from labelmill.db.filters import ResultFilter
from labelmill.db.runs import Runs
from labelmill.media.uploads import UploadStore
from labelmill.sources.base import Source
from labelmill.sources.columns import ColumnMapping, ColumnOptions, choose, require
from labelmill.sources.ids import check_run
from labelmill.sources.jobs import JobMaker
from labelmill.sources.plan import Plan
from labelmill.sources.readers import open_source

_SHOWN_REJECTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitOptions:
    """What the user wants; see ``labelmill submit --help``."""

    model: str | None
    plan: Plan | None
    columns: ColumnOptions
    run: str | None
    resume: bool
    accept_changes: bool
    max_waiting: int
    rejects: Path | None
    wait: bool
    as_json: bool


class SubmitRun:
    """One submission, as a person or a script sees it.

    Parameters:
        view: shows how far it is, and what is to be said beside.
        write: writes a line of what it is asked for: the run's id, or an object of JSON.
    """

    def __init__(self, options: SubmitOptions, view: View, write: Callable[[str], None]) -> None:
        self._options = options
        self._view = view
        self._write = write
        self._told = 0
        self.progress = SubmitProgress(options.run or "", options.model or "")

    def run(self) -> None:
        """Submit everything, wait if that is wanted, and say what became of it.

        Raises:
            SourceError: there is nothing to submit, or a source cannot be read.
            ConfigurationError: what is wanted does not fit.
            ServiceUnavailable: Redis, the database or the upload store is away.
        """
        options = self._options
        with ExitStack() as stack:
            database = stack.enter_context(Database.open(DatabaseSettings().database_url))
            run, plan, sources, chosen = self._prepared(database.runs)
            progress = self.progress = SubmitProgress(run.id, run.model, total=_total(sources))
            url = BrokerSettings().broker_url
            publisher = stack.enter_context(run_publisher(url, run.id))
            stack.enter_context(publisher.held(self._view.say))
            reject = stack.enter_context(self._rejects())
            pending = stack.enter_context(PendingJobs())
            warn_unserved(run.model, self._view.say)
            self._announce(run.id)
            broker = stack.enter_context(open_broker(url))
            stack.enter_context(self._view)
            submission = Submission(
                run=run,
                database=database,
                publisher=publisher,
                backpressure=Backpressure(broker, run.model, options.max_waiting),
                progress=progress,
                view=self._view,
                inspector=QueueInspector(broker),
                reject=reject,
                pending=pending,
            )
            maker = JobMaker(run.id, plan, chosen, _upload_store(plan))
            rows = min(BLOCK_ROWS, max(1, options.max_waiting // 2))
            try:
                submission.submit(self._watched(read_ahead(Blocks(maker, sources, rows))))
                if not progress.rows:
                    raise SourceError(f"there is nothing to submit in {run.source}")
                submission.finish()
                if options.wait:
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
        plan, sources, chosen = self._opened(self._options.plan, None)
        run = self._options.run or new_id()
        progress = self.progress = SubmitProgress(
            run, self._options.model or "", total=_total(sources)
        )
        maker = JobMaker(run, replace(plan, upload=False), chosen)

        def tick(seen: Preview) -> None:
            progress.before, progress.rejected = seen.jobs, seen.rejected
            self._view.update(progress)

        with self._rejects() as reject, self._view:
            blocks = read_ahead(Blocks(maker, sources))
            return preview(plan.source, chosen, blocks, reject, tick)

    def interrupted(self) -> None:
        """Say how to go on."""
        self._view.say("interrupted")
        self._say_how_to_resume()
        if self._options.as_json:
            self._write_json(state="interrupted")

    def _prepared(self, runs: Runs) -> tuple[Run, Plan, list[Source], ColumnMapping]:
        """The run, new or to be resumed, and its sources."""
        options = self._options
        found = runs.get(options.run) if options.run is not None else None
        if options.resume or found is not None:
            found = run_to_resume(runs, options.run, options.model, options.plan)
            if options.model not in (None, found.model):
                raise ConfigurationError(
                    f"run {found.id} is for {found.model}, not for {options.model}"
                )
            plan = resumed_plan(found, options.plan, accept_changes=options.accept_changes)
            plan, sources, chosen = self._opened(plan, plan.chosen)
            id, model, created_at = found.id, found.model, found.created_at
        else:
            plan, sources, chosen = self._opened(options.plan, None)
            plan = plan.with_fingerprints()
            id, created_at = check_run(options.run or new_id()), datetime.now(UTC)
            model = options.model or ""
        run = Run(
            id=id, model=model, source=plan.source, plan=plan.to_json(), created_at=created_at
        )
        return run, plan, sources, chosen

    def _opened(
        self, plan: Plan | None, chosen: ColumnMapping | None
    ) -> tuple[Plan, list[Source], ColumnMapping]:
        if plan is None:
            raise ConfigurationError("say which SOURCE to submit; see --help")
        sources = [each for name in plan.sources for each in open_source(name, plan.form)]
        if not sources:
            raise SourceError(f"there is nothing to submit in {plan.source}")
        for source in sources:
            columns = source.columns()
            if chosen is None:
                chosen = choose(source.name, columns, self._options.columns)
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
        with rejects_file(self._options.rejects) as write:

            def reject(rejected: Rejected) -> None:
                write(rejected)
                self._told += 1
                if self._told <= _SHOWN_REJECTS:
                    self._view.say(f"  {described(rejected)}")
                elif self._told == _SHOWN_REJECTS + 1:
                    more = "" if self._options.rejects else "; --rejects FILE lists all"
                    self._view.say(f"  … and more{more}")

            yield reject

    def _announce(self, run: str) -> None:
        self._view.say(f"run {run}")
        if not self._options.as_json:
            self._write(run)

    def _say_how_to_resume(self) -> None:
        progress = self.progress
        if progress.sent or progress.before or progress.submitted:
            self._view.say(f"to go on: labelmill submit --resume {progress.run}")

    def _conclude(self) -> None:
        progress, view = self.progress, self._view
        view.say(
            f"{progress.sent:,} submitted, {progress.before:,} submitted before, "
            f"{progress.rejected:,} rejected"
        )
        errors: list[tuple[str, int]] = []
        if self._options.wait:
            view.say(f"{progress.succeeded:,} succeeded, {progress.failed:,} failed")
            if progress.failed:
                with Database.open(DatabaseSettings().database_url) as database:
                    wanted = ResultFilter(run_id=progress.run)
                    errors = database.results.summary(wanted).errors
                for code, number in errors:
                    view.say(f"  {number:,} {code}")
                view.say(f"labelmill results --run {progress.run} --status failed")
        if self._options.as_json:
            self._write_json(state="done", errors=dict(errors))

    def _write_json(self, **more: object) -> None:
        self._write(json.dumps({**self.progress.as_json(), **more}, ensure_ascii=False))


def _total(sources: list[Source]) -> int | None:
    counts = [source.count() for source in sources]
    return None if None in counts else sum(count for count in counts if count is not None)


def _upload_store(plan: Plan) -> UploadStore | None:
    return UploadStore.open(BrokerSettings().upload_store) if plan.upload else None
