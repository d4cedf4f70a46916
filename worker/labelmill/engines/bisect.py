"""Bisection, into quarters: one bad job fails alone."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence
from typing import TypeVar

from labelmill.core.errors import ErrorCode, JobError
from labelmill.engines import memory
from labelmill.engines.faults import Fault, fault_of

logger = logging.getLogger(__name__)

Input = TypeVar("Input")
Output = TypeVar("Output")


def run_bisecting(
    step: Callable[[Sequence[Input]], list[Output | JobError]], inputs: Sequence[Input]
) -> list[Output | JobError]:
    """Run a batched step; where it raises, run its quarters, down to the inputs that make it raise.

    A step that does not answer each input once is taken for one that raises.

    One bad input among n costs 4 log4(n) further calls, as many as with halves, but only n/3 of the
    inputs run in vain a second time, where halves take n.

    Returns:
        the step's answer for each input, or the error that stands for it.

    Raises:
        Exception: the device answers nothing more, so that every further call would fail. The
            worker has to end; see :mod:`labelmill.engines.faults`.
    """
    if not inputs:
        return []
    try:
        answers = list(step(inputs))
        if len(answers) != len(inputs):
            raise ValueError(f"{len(answers)} answers for {len(inputs)} inputs")
    except Exception as error:
        fault = fault_of(error)
        if fault.ends_worker:
            raise
        failure = _failure(error, fault)
    else:
        return answers
    if fault is Fault.OUT_OF_MEMORY:
        memory.free()
    if len(inputs) == 1:
        return [failure]
    quarter = -(-len(inputs) // 4)
    parts = (inputs[start : start + quarter] for start in range(0, len(inputs), quarter))
    return [answer for part in parts for answer in run_bisecting(step, part)]


def _failure(error: Exception, fault: Fault) -> JobError:
    # The text of a foreign error may quote the payload: only its type and place are told.
    name = type(error).__name__
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    logger.warning("a batched step raised %s at %s:%s", name, frame.f_code.co_filename, line)
    if fault is Fault.OUT_OF_MEMORY:
        return out_of_memory()
    return JobError(
        ErrorCode.MODEL_FAILED,
        f"the model raised {name} for this job alone; the worker's log says where",
    )


def out_of_memory() -> JobError:
    """The error of a job that does not fit on the device alone."""
    return JobError(
        ErrorCode.OUT_OF_MEMORY,
        "the device has too little memory for this job alone; use a larger one",
    )
