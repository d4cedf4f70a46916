"""Resuming: which run is meant, and whether its sources are what they were."""

from __future__ import annotations

from dataclasses import replace

from labelmill.core.errors import ConfigurationError
from labelmill.core.run import Run
from labelmill.db.runs import Runs
from labelmill.sources.plan import Plan
from labelmill.sources.readers import STDIN


def run_to_resume(runs: Runs, run: str | None, model: str | None, plan: Plan | None) -> Run:
    """The run of that id, or the newest one of the same model and sources.

    Raises:
        ConfigurationError: there is none, or it was not submitted by ``labelmill submit``.
    """
    if run is not None:
        found = runs.get(run)
        if found is None:
            raise ConfigurationError(
                f"there is no run {run}: nothing of it was sent; submit its source (again)"
            )
        if not found.plan:
            raise ConfigurationError(
                f"run {run} was not begun by labelmill submit, so it cannot be resumed"
            )
        return found
    if model is None or plan is None:
        raise ConfigurationError("say which run to resume, or its MODEL and SOURCE")
    found = runs.to_resume(model, plan.source)
    if found is None:
        raise ConfigurationError(
            f"{plan.source} was not submitted to {model} yet; leave out --resume"
        )
    return found


def resumed_plan(run: Run, given: Plan | None, *, accept_changes: bool) -> Plan:
    """The plan of a run to go on with: as it was written down, its sources as they are now.

    Parameters:
        given: what the user says now, if anything; it must be of the same sources.

    Raises:
        ConfigurationError: the sources are others, or have changed, or cannot be known.
        SourceError: one cannot be read.
    """
    before = Plan.from_json(run.plan or {})
    if given is not None and given.source != before.source:
        raise ConfigurationError(
            f"run {run.id} is of {before.source}; take another --run for {given.source}"
        )
    if given is None and (run.plan or {}).get("secret"):
        raise ConfigurationError(
            "the address of its source has parts that are not written down; name the SOURCE again"
        )
    if given is None and STDIN in before.sources:
        raise ConfigurationError(
            f"run {run.id} was read from a pipe; pipe the same again, and say MODEL - --resume"
        )
    sources = given.sources if given is not None else before.sources
    now = replace(before, sources=sources).with_fingerprints()
    changed = now.changed_since(before)
    if changed and not accept_changes:
        raise ConfigurationError(
            f"{', '.join(changed)} has changed since run {run.id} began, so rows may be others; "
            "submit it as a new run, or say --accept-changes if rows were only added at the end"
        )
    return now
