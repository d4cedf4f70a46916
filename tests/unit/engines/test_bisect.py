from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelmill.core.errors import ErrorCode, JobError
from labelmill.engines.bisect import run_bisecting


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


class AcceleratorError(RuntimeError):
    """As torch names it."""


class Step:
    """A batched step that doubles numbers and raises where a bad one is among them."""

    def __init__(self, *bad: int, error: Callable[[], Exception] = ValueError) -> None:
        self.bad = set(bad)
        self.error = error
        self.calls: list[list[int]] = []

    def __call__(self, inputs: Sequence[int]) -> list[int | JobError]:
        self.calls.append(list(inputs))
        if self.bad.intersection(inputs):
            raise self.error()
        return [2 * each for each in inputs]


def failures(outputs: Sequence[int | JobError]) -> list[int]:
    """Which of the outputs are errors."""
    return [index for index, each in enumerate(outputs) if isinstance(each, JobError)]


def test_a_step_that_works_is_called_once() -> None:
    step = Step()

    assert run_bisecting(step, range(5)) == [0, 2, 4, 6, 8]
    assert len(step.calls) == 1


def test_a_step_is_not_called_for_nothing() -> None:
    step = Step()

    assert run_bisecting(step, []) == []
    assert step.calls == []


def test_one_bad_input_among_many_fails_alone() -> None:
    outputs = run_bisecting(Step(37), range(100))

    assert failures(outputs) == [37]
    assert [each for each in outputs if not isinstance(each, JobError)] == [
        2 * each for each in range(100) if each != 37
    ]


@given(size=st.integers(1, 200), data=st.data())
def test_exactly_the_bad_inputs_fail(size: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, size - 1)))

    outputs = run_bisecting(Step(*bad), range(size))

    assert failures(outputs) == sorted(bad)
    assert len(outputs) == size


@given(size=st.integers(1, 1024), data=st.data())
def test_one_bad_input_costs_four_calls_for_each_quartering(size: int, data: st.DataObject) -> None:
    step = Step(data.draw(st.integers(0, size - 1)))

    run_bisecting(step, range(size))

    assert len(step.calls) <= 1 + 4 * math.ceil(math.log(size, 4) - 1e-9)


@given(size=st.integers(4, 1024), data=st.data())
def test_of_the_good_inputs_few_run_in_vain_again(size: int, data: st.DataObject) -> None:
    bad = data.draw(st.integers(0, size - 1))
    step = Step(bad)

    run_bisecting(step, range(size))

    in_vain = sum(len(call) for call in step.calls[1:] if bad in call)
    assert in_vain <= size / 3 + 2 * math.log(size, 4) + 1


@pytest.mark.parametrize("size", [1, 2, 7, 64, 100])
def test_a_group_that_is_all_bad_costs_less_than_two_calls_for_each(size: int) -> None:
    step = Step(*range(size))

    run_bisecting(step, range(size))

    assert len(step.calls) <= 2 * size - 1


def test_a_step_that_drops_an_input_fails_it_alone() -> None:
    def step(inputs: Sequence[int]) -> list[int | JobError]:
        return [2 * each for each in inputs if each != 3]

    assert failures(run_bisecting(step, range(20))) == [3]


def test_a_step_that_raises_while_its_answers_are_read_fails_one_alone() -> None:
    def step(inputs: Sequence[int]) -> list[int | JobError]:
        return (12 // (each - 3) for each in inputs)  # type: ignore[return-value]

    assert failures(run_bisecting(step, range(20))) == [3]


def test_the_errors_that_a_step_answers_with_are_kept() -> None:
    refused = JobError(ErrorCode.IMAGE_UNREADABLE, "the image is damaged")

    assert run_bisecting(lambda inputs: [refused for _ in inputs], [1]) == [refused]


def test_a_job_that_fails_alone_is_told_the_kind_of_error() -> None:
    [failure] = run_bisecting(Step(1), [1])

    assert isinstance(failure, JobError)
    assert failure.code == ErrorCode.MODEL_FAILED
    assert "ValueError" in failure.message


def test_too_little_memory_for_one_job_has_a_code_of_its_own() -> None:
    [failure] = run_bisecting(Step(1, error=OutOfMemoryError), [1])

    assert isinstance(failure, JobError)
    assert failure.code == ErrorCode.OUT_OF_MEMORY


def test_a_group_too_large_for_the_memory_is_divided_until_it_fits() -> None:
    def step(inputs: Sequence[int]) -> list[int | JobError]:
        if len(inputs) > 3:
            raise OutOfMemoryError
        return list(inputs)

    assert run_bisecting(step, range(10)) == list(range(10))


def test_neither_the_failure_nor_the_log_quotes_the_job(caplog: pytest.LogCaptureFixture) -> None:
    secret = "my password is hunter2"

    [failure] = run_bisecting(Step(1, error=lambda: ValueError(f"cannot read {secret}")), [1])

    assert isinstance(failure, JobError)
    assert "hunter2" not in failure.message
    assert "hunter2" not in caplog.text


def test_the_log_says_where_a_step_raised(caplog: pytest.LogCaptureFixture) -> None:
    run_bisecting(Step(1), [1])

    assert "ValueError" in caplog.text
    assert "test_bisect.py:" in caplog.text


def test_a_lost_device_is_no_jobs_fault() -> None:
    with pytest.raises(AcceleratorError):
        run_bisecting(Step(1, error=AcceleratorError), [0, 1, 2])


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_is_no_jobs_fault(interruption: Callable[[], Exception]) -> None:
    with pytest.raises(interruption):
        run_bisecting(Step(1, error=interruption), [1])
