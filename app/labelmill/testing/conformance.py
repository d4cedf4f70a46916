"""The conformance of an engine: what a worker relies on, rule by rule."""

from __future__ import annotations

import base64
import json
import math
import reprlib
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from labelmill.core.catalog import ModelSpec
from labelmill.core.errors import JobError
from labelmill.core.job import MAX_TOP_K, Image, Job, Options
from labelmill.core.result import LabelScore
from labelmill.core.tasks import InputKind
from labelmill.engines.base import Engine

Answer = list[LabelScore] | JobError

_FEWEST = 3  # jobs: with two, to turn them and to reverse them is the same
_ROUNDS = 3  # of what is done in several threads at once
_SECONDS = 60  # for each step in a thread; a model takes less, and one that hangs is told of

_SHOWN = 20  # characters of a text
_LONGEST = 500  # characters of an error

_ODD_TEXTS = (
    *(" ", "\n\t\r", "\x00", "\x07\x1b[31m", "\N{ZERO WIDTH SPACE}", "\ud800 alone", "\ufeff"),
    *("a" * 20_000, "word " * 5_000, "🙂🏳️‍🌈", "\u202eright to left", "e" + "\u0301" * 500),
    *("[CLS] [SEP] </s> <pad>", "{}", "<script>", "%s %d", "0"),
)
_ODD_IMAGES = (b"", b"no image", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\x00" * 64)


class EngineNotConformant(AssertionError):
    """An engine breaks rules that a worker relies on; the message names each."""


class _Broken(Exception):
    """One rule is broken."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """An engine, the jobs to try it with, and how far scores may be apart."""

    engine: Engine[Any, Any]
    jobs: list[Job]
    bound: float

    def answers(self, jobs: Sequence[Job], top_k: int = MAX_TOP_K) -> list[Answer]:
        """The answers to jobs that go through the three steps together."""
        return self.decoded(self.forwarded(self.prepared(jobs)), [top_k] * len(jobs))

    def prepared(self, jobs: Sequence[Job]) -> list[Any]:
        return _one_each("prepare", self.engine.prepare(list(jobs)), jobs)

    def forwarded(self, inputs: Sequence[Any]) -> list[Any]:
        return self._step("forward", self.engine.forward, inputs)

    def decoded(self, outputs: Sequence[Any], top_k: Sequence[int]) -> list[Answer]:
        def decode(chosen: Sequence[tuple[Any, int]]) -> list[Any]:
            outputs, numbers = map(list, zip(*chosen, strict=True))
            self.engine.wait(outputs)
            return self.engine.decode(outputs, numbers)

        whole = [
            each if isinstance(each, JobError) else (each, k)
            for each, k in zip(outputs, top_k, strict=True)
        ]
        return self._step("decode", decode, whole)

    def _step(
        self, name: str, step: Callable[[Sequence[Any]], list[Any]], given: Sequence[Any]
    ) -> list[Any]:
        """A step over those that have not failed before; it is never called without any."""
        pending = [each for each in given if not isinstance(each, JobError)]
        answered = iter(_one_each(name, step(pending), pending) if pending else [])
        return [each if isinstance(each, JobError) else next(answered) for each in given]

    def same(self, one: Answer, other: Answer) -> bool:
        """Whether two answers are equal but for the bound."""
        if isinstance(one, JobError) or isinstance(other, JobError):
            both = isinstance(one, JobError) and isinstance(other, JobError)
            return both and one.code == other.code  # type: ignore[union-attr]
        left, right = ({each["label"]: each["score"] for each in answer} for answer in (one, other))
        return left.keys() == right.keys() and all(
            math.isclose(left[label], right[label], rel_tol=0, abs_tol=self.bound) for label in left
        )

    def hold(self, what: str, found: Sequence[Answer], expected: Sequence[Answer]) -> None:
        """Have answers be those that are expected."""
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            if not self.same(one, other):
                raise _Broken(f"job {number} {what}: {_shown(one)}, not {_shown(other)}")


def describes_itself(trial: _Trial) -> None:
    """``spec``, ``device`` and ``revision`` say what it is, and ``waits`` is yes or no."""
    engine = trial.engine
    if not isinstance(getattr(engine, "spec", None), ModelSpec):
        raise _Broken("spec is the model's entry: call super().__init__(spec)")
    if not isinstance(engine.device, str) or not engine.device:
        raise _Broken(f"device is a string that people read, not {engine.device!r}")
    if not isinstance(engine.revision, str | None):
        raise _Broken(f"revision is a string or None, not {engine.revision!r}")
    if wrong := {str(job.kind) for job in trial.jobs if job.kind is not engine.spec.task.reads}:
        raise _Broken(f"its task reads one {engine.spec.task.reads}, the jobs hold {wrong}")
    if not isinstance(engine.waits(list(trial.jobs)), bool):
        raise _Broken("waits answers True or False")


def answers_each_job(trial: _Trial) -> None:
    """Each step answers a list, as many as it is given: in the end labels, or a ``JobError``.

    A label is a dict with ``label``, a ``str``, and ``score``, a ``float``.
    """
    for number, answer in enumerate(trial.answers(trial.jobs)):
        _require_answer(f"job {number}", answer)


def labels_the_best_first(trial: _Trial) -> None:
    """Each job has labels, each once, the best first, with scores that are finite numbers."""
    for number, answer in enumerate(trial.answers(trial.jobs)):
        if isinstance(answer, JobError):
            raise _Broken(f"job {number} fails: {answer}; give jobs that have labels")
        labels, scores = zip(*((each["label"], each["score"]) for each in answer), strict=True)
        if len({*labels}) < len(labels):
            raise _Broken(f"job {number}: each label is there once: {reprlib.repr(labels)}")
        if not all(map(math.isfinite, scores)):
            raise _Broken(f"job {number}: scores are finite: {reprlib.repr(scores)}")
        if list(scores) != sorted(scores, reverse=True):
            raise _Broken(f"job {number}: the best is not the first: {reprlib.repr(scores)}")
        json.dumps(answer)


def keeps_the_order(trial: _Trial) -> None:
    """Answers come in the order of the jobs, whatever that is."""
    expected = [trial.answers([job])[0] for job in trial.jobs]
    if all(trial.same(expected[0], each) for each in expected):
        raise _Broken("the jobs given have all the same answer: give some that differ")
    trial.hold("in order", trial.answers(trial.jobs), expected)
    trial.hold("in reverse", trial.answers(trial.jobs[::-1]), expected[::-1])
    turned = [*trial.jobs[1:], trial.jobs[0]]
    trial.hold("turned by one", trial.answers(turned), [*expected[1:], expected[0]])


def answers_equal_jobs_alike(trial: _Trial) -> None:
    """The same job has the same answer, beside itself and the next time."""
    first = trial.answers(trial.jobs)
    trial.hold("asked again", trial.answers(trial.jobs), first)
    trial.hold("twice in a group", trial.answers([*trial.jobs, *trial.jobs]), [*first, *first])


def ignores_the_company(trial: _Trial) -> None:
    """A job's scores are, within the bound, the same alone and in any group."""
    alone = [trial.answers([job])[0] for job in trial.jobs]
    for size in range(2, len(trial.jobs) + 1):
        for start in range(0, len(trial.jobs), size):
            some = slice(start, start + size)
            trial.hold(f"among {size}", trial.answers(trial.jobs[some]), alone[some])
    crowd = trial.jobs * 8
    trial.hold(f"among {len(crowd)}", trial.answers(crowd), alone * 8)


def gives_top_k(trial: _Trial) -> None:
    """``top_k`` says how many labels each job has at most; they are the best of all."""
    every = trial.answers(trial.jobs)
    outputs = trial.forwarded(trial.prepared(trial.jobs))
    wanted = [1 + number % 3 for number in range(len(trial.jobs))]
    for counts in (wanted, wanted[::-1], [1] * len(wanted)):
        cut = [
            each if isinstance(each, JobError) else each[:k]
            for each, k in zip(every, counts, strict=True)
        ]
        given = trial.decoded(outputs, counts)
        for number, (found, expected) in enumerate(zip(given, cut, strict=True)):
            if not isinstance(expected, JobError) and not _as_many(found, expected):
                raise _Broken(
                    f"job {number} has {_count(found)} with top_k={counts[number]}, and"
                    f" {_count(every[number])} in all"
                )
        trial.hold("with top_k", given, cut)


def fails_a_bad_job_alone(trial: _Trial) -> None:
    """An odd job gets labels or an error, no step raises, and its neighbours notice nothing."""
    expected = trial.answers(trial.jobs)
    middle = len(trial.jobs) // 2
    odd = odd_jobs(trial.engine.spec.task.reads)
    for job in odd:
        try:
            found = trial.answers([*trial.jobs[:middle], job, *trial.jobs[middle:]])
        except _Broken as error:
            raise _Broken(f"beside {_named(job)}: {error}") from None
        except Exception as error:
            raise _Broken(
                f"{_named(job)} raises {_raised(error, trial.engine)}; answer it with a JobError:"
                " to find out whose fault it was, a worker has to run the others again"
            ) from error
        _require_answer(_named(job), found.pop(middle))
        trial.hold(f"beside {_named(job)}", found, expected)
    trial.hold("after odd ones", trial.answers(trial.jobs), expected)


def runs_a_step_again(trial: _Trial) -> None:
    """Inputs and outputs may be given to a step again, with fewer others."""
    expected = trial.answers(trial.jobs)
    inputs = trial.prepared(trial.jobs)
    top_k = [MAX_TOP_K] * len(trial.jobs)
    trial.forwarded(inputs)
    one_by_one = [trial.forwarded([each])[0] for each in inputs]
    trial.hold("forwarded again, alone", trial.decoded(one_by_one, top_k), expected)
    outputs = trial.forwarded(inputs)
    trial.decoded(outputs, top_k)
    again = [trial.decoded([each], [MAX_TOP_K])[0] for each in outputs]
    trial.hold("decoded again, alone", again, expected)


def keeps_nothing_between_steps(trial: _Trial) -> None:
    """Two groups may be under way at once, each at another step."""
    other = trial.jobs[::-1]
    expected = trial.answers(trial.jobs), trial.answers(other)
    top_k = [MAX_TOP_K] * len(other)
    first, second = trial.prepared(trial.jobs), trial.prepared(other)
    outputs = trial.forwarded(first), trial.forwarded(second)
    trial.hold("with a group behind it", trial.decoded(outputs[0], top_k), expected[0])
    trial.hold("behind a group", trial.decoded(outputs[1], top_k), expected[1])


def runs_in_threads(trial: _Trial) -> None:
    """``prepare`` and ``decode`` run while ``forward`` does, each in one thread.

    Where ``waits`` says so, ``prepare`` runs in several.
    """
    expected = trial.answers(trial.jobs)
    inputs = trial.prepared(trial.jobs)
    outputs = trial.forwarded(inputs)
    top_k = [MAX_TOP_K] * len(trial.jobs)
    preparing = 2 if trial.engine.waits(list(trial.jobs)) else 1
    steps: list[Callable[[], list[Any]]] = [
        lambda: trial.forwarded(inputs),
        lambda: trial.decoded(outputs, top_k),
        *[lambda: trial.prepared(trial.jobs)] * preparing,
    ]
    forwarded, decoded, *prepared = _at_once(steps)
    trial.hold("decoded in a thread", decoded, expected)
    trial.hold("forwarded in a thread", trial.decoded(forwarded, top_k), expected)
    for each in prepared:
        found = trial.decoded(trial.forwarded(each), top_k)
        trial.hold("prepared in a thread", found, expected)


RULES: tuple[Callable[[_Trial], None], ...] = (
    describes_itself,
    answers_each_job,
    labels_the_best_first,
    keeps_the_order,
    answers_equal_jobs_alike,
    ignores_the_company,
    gives_top_k,
    fails_a_bad_job_alone,
    runs_a_step_again,
    keeps_nothing_between_steps,
    runs_in_threads,
)


def check_engine(engine: Engine[Any, Any], jobs: Sequence[Job], *, bound: float = 1e-4) -> None:
    """Hold an engine of yours against all that a worker relies on.

    Parameters:
        jobs: at least three that the model labels, not all alike.
        bound: how far a score may be off when a job is in other company; half precision takes
            more than the default.

    Raises:
        EngineNotConformant: it breaks a rule; the message names each that it breaks, and how.
        TypeError: it is no engine, or what is given is not a list of jobs.
        ValueError: there are too few jobs.
    """
    if not isinstance(engine, Engine):
        raise TypeError(f"give an instance of a subclass of Engine, not {engine!r}")
    if wrong := [each for each in jobs if not isinstance(each, Job)]:
        raise TypeError(f"give jobs, as Job(text=…), not {wrong[0]!r}")
    if len(jobs) < _FEWEST:
        raise ValueError(f"give at least {_FEWEST} jobs, not {len(jobs)}")
    trial = _Trial(engine, list(jobs), bound)
    broken: list[str] = []
    for rule in RULES:
        if said := _broken(rule, trial):
            broken += [f"{rule.__name__}: {said}", f"    {(rule.__doc__ or '').splitlines()[0]}"]
            if rule in (describes_itself, answers_each_job):
                broken.append("the rules that follow have not been tried")
                break
    if broken:
        said = "\n".join([type(engine).__name__, *broken])
        # What it quotes may be half a pair of surrogates, which no file and no terminal takes.
        raise EngineNotConformant(said.encode(errors="backslashreplace").decode())


def _broken(rule: Callable[[_Trial], None], trial: _Trial) -> str | None:
    """How an engine breaks a rule; None if it does not."""
    try:
        rule(trial)
    except _Broken as error:
        return str(error)
    except Exception as error:
        return f"the engine raises {_raised(error, trial.engine)}"
    return None


def odd_jobs(kind: InputKind) -> list[Job]:
    """Valid jobs that a model may not expect: strange texts, or images that are none."""
    if kind is InputKind.TEXT:
        return [Job(text=text) for text in _ODD_TEXTS]
    missing = Job(image=Image(uri="/no/such/image.png"), options=Options(top_k=1))
    encoded = [base64.b64encode(content).decode() for content in _ODD_IMAGES]
    return [missing, *(Job(image=Image(base64=each)) for each in encoded)]


def _at_once(steps: Sequence[Callable[[], list[Any]]]) -> list[list[Any]]:
    """The last answer of each step, after some rounds in which all begin at the same moment."""
    together = threading.Barrier(len(steps))

    def rounds(step: Callable[[], list[Any]]) -> list[Any]:
        answer: list[Any] = []
        try:
            for _ in range(_ROUNDS):
                together.wait(_SECONDS)
                answer = step()
        except Exception:
            together.abort()
            raise
        return answer

    with ThreadPoolExecutor(len(steps)) as pool:
        running = [pool.submit(rounds, step) for step in steps]
    errors = [each.exception() for each in running]
    for error in errors:
        if error is not None and not isinstance(error, threading.BrokenBarrierError):
            raise error
    return [each.result() for each in running]


def _one_each(step: str, answers: list[Any], asked: Sequence[Any]) -> list[Any]:
    if not isinstance(answers, list):
        raise _Broken(f"{step} answers a list, not {reprlib.repr(answers)}")
    if len(answers) != len(asked):
        raise _Broken(f"{step} was given {len(asked)} and answers {len(answers)}")
    return answers


def _require_answer(whose: str, answer: object) -> None:
    if isinstance(answer, JobError):
        return
    if not isinstance(answer, list) or not answer:
        said = reprlib.repr(answer)
        raise _Broken(f"{whose} has {said}: neither labels nor a JobError that says why")
    for each in answer:
        if not _is_label(each):
            raise _Broken(
                f'{whose}: a label is {{"label": str, "score": float}}, not {reprlib.repr(each)}'
            )


def _is_label(given: object) -> bool:
    return (
        isinstance(given, dict)
        and isinstance(given.get("label"), str)
        and isinstance(given.get("score"), float)
    )


def _as_many(found: Answer, expected: list[LabelScore]) -> bool:
    return isinstance(found, list) and len(found) == len(expected)


def _count(answer: Answer) -> str:
    return "an error" if isinstance(answer, JobError) else f"{len(answer)} labels"


def _raised(error: Exception, engine: Engine[Any, Any]) -> str:
    """An error, and the last line of the engine's module that led to it."""
    module = sys.modules.get(type(engine).__module__)
    lines = traceback.extract_tb(error.__traceback__)
    own = [line for line in lines if line.filename == getattr(module, "__file__", None)]
    where = f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {str(error)[:_LONGEST]}{where}"


def _shown(answer: Answer) -> str:
    if isinstance(answer, JobError):
        return f"the error {answer.code}"
    return ", ".join(f"{each['label']} {each['score']:.6g}" for each in answer[:3])


def _named(job: Job) -> str:
    if job.image is not None:
        return f"the image {job.image.uri or job.image.inline_bytes()[:8]!r}"
    text = job.text or ""
    if len(text) <= _SHOWN:
        return f"the text {text!r}"
    return f"the text {text[:_SHOWN]!r} and so on, {len(text):,} characters,"
