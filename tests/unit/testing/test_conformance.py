"""The conformance of engines: what passes, and that each rule can be broken and is told of."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence

import pytest

from labelmill.core.catalog import ModelSpec
from labelmill.core.errors import ErrorCode, JobError
from labelmill.core.job import Image, Job
from labelmill.core.result import LabelScore
from labelmill.core.tasks import InputKind, Task
from labelmill.engines import Engine
from labelmill.testing import EngineNotConformant, StubEngine, check_engine
from labelmill.testing.conformance import RULES, odd_jobs
from tests.support.engines import ScriptedEngine

JOBS = [Job(text=text) for text in ("a", "bb", "ccc", "dddd", "eeeee")]
SPEC = ModelSpec(task=Task.TEXT_CLASSIFICATION, checkpoint=".")

Answers = list[list[LabelScore] | JobError]


class Sound(Engine[str, float]):
    """Labels a text by its length, as a model would; each engine below breaks one rule."""

    def __init__(self) -> None:
        super().__init__(SPEC)

    def prepare(self, jobs: Sequence[Job]) -> list[str | JobError]:
        return [str(job.text) for job in jobs]

    def forward(self, inputs: Sequence[str]) -> list[float | JobError]:
        return [1 / (1 + len(text)) for text in inputs]

    def decode(self, outputs: Sequence[float], top_k: Sequence[int]) -> Answers:
        return [self.labels(each)[:k] for each, k in zip(outputs, top_k, strict=True)]

    def labels(self, output: float) -> list[LabelScore]:
        scores = {"short": output, "long": (1 - output) / 2, "odd": (1 - output) / 2}
        ranked = sorted(scores.items(), key=lambda each: -each[1])
        return [{"label": label, "score": score} for label, score in ranked]


class WithoutDevice(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.device = ""


class NumberedRevision(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.revision = 7  # type: ignore[assignment]


class VagueAboutWaiting(Sound):
    def waits(self, jobs: Sequence[Job]) -> bool:
        return None  # type: ignore[return-value]


class ImagesOnly(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.spec = ModelSpec(task=Task.IMAGE_CLASSIFICATION, checkpoint=".")


class WorstFirst(Sound):
    def labels(self, output: float) -> list[LabelScore]:
        return super().labels(output)[::-1]


class NoNumber(Sound):
    def labels(self, output: float) -> list[LabelScore]:
        return [{"label": "short", "score": float("nan")}]


class WholeNumber(Sound):
    def labels(self, output: float) -> list[LabelScore]:
        return [{"label": "short", "score": 1}, *super().labels(output)[1:]]


class SameLabelTwice(Sound):
    def labels(self, output: float) -> list[LabelScore]:
        return super().labels(output)[:1] * 2


class WithoutLabels(Sound):
    def labels(self, output: float) -> list[LabelScore]:
        return []


class WithoutSuper(Sound):
    def __init__(self) -> None:
        pass


class Misnamed(Sound):
    def labels(self, output: float) -> list[LabelScore]:
        return [{"name": "short", "score": output}]  # type: ignore[typeddict-item, typeddict-unknown-key]


class Generating(Sound):
    """What it raises in the end would be nobody's."""

    def decode(self, outputs: Sequence[float], top_k: Sequence[int]) -> Answers:
        return (each for each in super().decode(outputs, top_k))  # type: ignore[return-value]


class WithMore(Sound):
    """Says more of a label than is kept."""

    def labels(self, output: float) -> list[LabelScore]:
        return [{**each, "id": 7} for each in super().labels(output)]  # type: ignore[typeddict-unknown-key]


class Pairs(Sound):
    def labels(self, output: float) -> list[LabelScore]:
        return [("short", output)]  # type: ignore[list-item]


class NoList(Sound):
    def forward(self, inputs: Sequence[str]) -> list[float | JobError]:
        return tuple(super().forward(inputs))  # type: ignore[return-value]


class AlwaysFailing(Sound):
    def prepare(self, jobs: Sequence[Job]) -> list[str | JobError]:
        return [JobError(ErrorCode.MODEL_FAILED, "no") for _ in jobs]


class Sorting(Sound):
    def forward(self, inputs: Sequence[str]) -> list[float | JobError]:
        return super().forward(sorted(inputs))


class Forgetful(Sound):
    def forward(self, inputs: Sequence[str]) -> list[float | JobError]:
        return super().forward(inputs)[: max(1, len(inputs) - 1)]


class Dropping(Sound):
    """Leaves out equal inputs, which the worker does by itself."""

    def prepare(self, jobs: Sequence[Job]) -> list[str | JobError]:
        return list(dict.fromkeys(super().prepare(jobs)))


class Restless(Sound):
    """Answers otherwise each time."""

    calls = 0

    def forward(self, inputs: Sequence[str]) -> list[float | JobError]:
        self.calls += 1
        return [each * 0.9**self.calls for each in super().forward(inputs)]  # type: ignore[operator]


class Sociable(Sound):
    """Scores depend on the longest text beside, as padding that is not masked would have it."""

    def forward(self, inputs: Sequence[str]) -> list[float | JobError]:
        longest = min(5, max(map(len, inputs)))
        return [each / (1 + longest / 100) for each in super().forward(inputs)]  # type: ignore[operator]


class AllLabels(Sound):
    def decode(self, outputs: Sequence[float], top_k: Sequence[int]) -> Answers:
        return [self.labels(each) for each in outputs]


class OneTopKForAll(Sound):
    def decode(self, outputs: Sequence[float], top_k: Sequence[int]) -> Answers:
        return [self.labels(each)[: max(top_k)] for each in outputs]


class NotTheBest(Sound):
    def decode(self, outputs: Sequence[float], top_k: Sequence[int]) -> Answers:
        return [self.labels(each)[-k:] for each, k in zip(outputs, top_k, strict=True)]


class Raising(Sound):
    """Raises at what has no letters."""

    def prepare(self, jobs: Sequence[Job]) -> list[str | JobError]:
        if any(not str(job.text).strip() for job in jobs):
            raise ValueError("nothing to read")
        return super().prepare(jobs)


class TooLong(Sound):
    """Raises at what is long."""

    def prepare(self, jobs: Sequence[Job]) -> list[str | JobError]:
        if max(len(str(job.text)) for job in jobs) > 10_000:
            raise ValueError("too long")
        return super().prepare(jobs)


class Quoting(Sound):
    """Quotes what it cannot read, at length."""

    def prepare(self, jobs: Sequence[Job]) -> list[str | JobError]:
        for job in jobs:
            if str(job.text).startswith("\ud800"):
                raise ValueError(str(job.text) * 1000)
        return super().prepare(jobs)


class DroppingBlanks(Sound):
    def prepare(self, jobs: Sequence[Job]) -> list[str | JobError]:
        return [text for text in super().prepare(jobs) if str(text).strip()]


class NothingForOdd(Sound):
    def labels(self, output: float) -> list[LabelScore]:
        return super().labels(output) if output > 0.01 else []


class TakingOthersAlong(Sound):
    """Has the whole group fail for one."""

    def prepare(self, jobs: Sequence[Job]) -> list[str | JobError]:
        if any(not str(job.text).strip() for job in jobs):
            return [JobError(ErrorCode.INVALID_JOB, "one is empty") for _ in jobs]
        return super().prepare(jobs)


class NeitherLabelsNorError(Sound):
    def decode(self, outputs: Sequence[float], top_k: Sequence[int]) -> Answers:
        answers = super().decode(outputs, top_k)
        return [each if output > 0.01 else None for each, output in zip(answers, outputs)]  # type: ignore[misc]  # noqa: B905


class Consuming(Engine[list[str], float]):
    """Empties its inputs, as one that frees memory early."""

    def __init__(self) -> None:
        super().__init__(SPEC)

    def prepare(self, jobs: Sequence[Job]) -> list[list[str] | JobError]:
        return [[str(job.text)] for job in jobs]

    def forward(self, inputs: Sequence[list[str]]) -> list[float | JobError]:
        return [1 / (1 + len(text.pop())) for text in inputs]

    def decode(self, outputs: Sequence[float], top_k: Sequence[int]) -> Answers:
        return Sound().decode(outputs, top_k)


class Remembering(Sound):
    """Keeps what it prepared last, and runs that."""

    last: list[str | JobError]

    def prepare(self, jobs: Sequence[Job]) -> list[str | JobError]:
        self.last = super().prepare(jobs)
        return self.last

    def forward(self, inputs: Sequence[str]) -> list[float | JobError]:
        return super().forward(list(map(str, self.last))[: len(inputs)])


class OneStepAtATime(Sound):
    """Cannot prepare while it runs; while it is watched, its pass takes until it is asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.running = threading.Lock()
        self.asked = threading.Event()

    def prepare(self, jobs: Sequence[Job]) -> list[str | JobError]:
        self.asked.set()
        if self.running.locked():
            raise RuntimeError("busy")
        return super().prepare(jobs)

    def forward(self, inputs: Sequence[str]) -> list[float | JobError]:
        with self.running:
            if threading.current_thread() is not threading.main_thread():
                self.asked.clear()
                self.asked.wait(0.5)
            return super().forward(inputs)


BROKEN: list[tuple[Callable[[], Engine[object, object]], str, str]] = [
    (WithoutDevice, "describes_itself", "device"),
    (NumberedRevision, "describes_itself", "revision"),
    (VagueAboutWaiting, "describes_itself", "waits"),
    (ImagesOnly, "describes_itself", "reads one image"),
    (WorstFirst, "labels_the_best_first", "the best is not the first"),
    (NoNumber, "labels_the_best_first", "finite"),
    (WithoutSuper, "describes_itself", "call super().__init__(spec)"),
    (
        WholeNumber,
        "answers_each_job",
        """{"label": str, "score": float}, not {'label': 'short', 's""",
    ),
    (Misnamed, "answers_each_job", "job 0: a label is {"),
    (Generating, "answers_each_job", "decode answers a list, not <generator"),
    (SameLabelTwice, "labels_the_best_first", "each label is there once"),
    (WithoutLabels, "answers_each_job", "job 0 has []: neither labels nor a JobError"),
    (
        Pairs,
        "answers_each_job",
        """a label is {"label": str, "score": float}, not ('short', 0.5)""",
    ),
    (NoList, "answers_each_job", "forward answers a list, not (0.5,"),
    (Forgetful, "answers_each_job", "forward was given 5 and answers 4"),
    (AlwaysFailing, "labels_the_best_first", "give jobs that have labels"),
    (Sorting, "keeps_the_order", "job 0 in reverse"),
    (Dropping, "answers_equal_jobs_alike", "prepare was given 10 and answers 5"),
    (Restless, "answers_equal_jobs_alike", "asked again"),
    (Sociable, "ignores_the_company", "job 0 among 2"),
    (AllLabels, "gives_top_k", "job 0 has 3 labels with top_k=1, and 3 labels in all"),
    (OneTopKForAll, "gives_top_k", "job 0 has 3 labels with top_k=1, and 3 labels in all"),
    (NotTheBest, "gives_top_k", "with top_k"),
    (Raising, "fails_a_bad_job_alone", "the text ' ' raises ValueError: nothing to read ("),
    (TooLong, "fails_a_bad_job_alone", "and so on, 20,000 characters, raises ValueError"),
    (DroppingBlanks, "fails_a_bad_job_alone", "beside the text ' ': prepare was given 6 and"),
    (NothingForOdd, "fails_a_bad_job_alone", "has []: neither labels nor a JobError"),
    (TakingOthersAlong, "fails_a_bad_job_alone", "beside the text ' '"),
    (NeitherLabelsNorError, "fails_a_bad_job_alone", "neither labels nor a JobError"),
    (Consuming, "runs_a_step_again", "raises IndexError"),
    (Remembering, "keeps_nothing_between_steps", "job 0 with a group behind it"),
    (OneStepAtATime, "runs_in_threads", "raises RuntimeError"),
]


def faults(engine: Engine[object, object], jobs: Sequence[Job] = JOBS) -> dict[str, str]:
    """What is said of each rule that an engine breaks."""
    with pytest.raises(EngineNotConformant) as raised:
        check_engine(engine, jobs)
    name, *lines = str(raised.value).splitlines()
    assert name == type(engine).__name__
    told = [line for line in lines if not line.startswith("    ") and ": " in line]
    return dict(re.split(": ", line, maxsplit=1) for line in told)  # type: ignore[misc]


@pytest.mark.parametrize("engine", [Sound, WithMore])
def test_a_sound_engine_passes(engine: Callable[[], Sound]) -> None:
    check_engine(engine(), JOBS)


def test_what_is_quoted_can_be_written() -> None:
    with pytest.raises(EngineNotConformant, match=r"\\ud800 alone") as raised:
        check_engine(Quoting(), JOBS)
    assert len(str(raised.value).encode()) < 2000


@pytest.mark.parametrize(
    ("engine", "rule", "said"), BROKEN, ids=[engine.__name__ for engine, _, _ in BROKEN]
)
def test_an_engine_that_breaks_a_rule_is_told_so(
    engine: Callable[[], Engine[object, object]], rule: str, said: str
) -> None:
    assert said in faults(engine())[rule]


@pytest.mark.parametrize(
    "engine",
    [
        Raising,
        TooLong,
        NothingForOdd,
        TakingOthersAlong,
        NeitherLabelsNorError,
        OneStepAtATime,
        NotTheBest,
    ],
)
def test_and_of_no_other(engine: Callable[[], Engine[object, object]]) -> None:
    broken = [(rule, made) for made, rule, _ in BROKEN if made is engine]
    assert [(rule, engine) for rule in faults(engine())] == broken


def test_each_rule_is_broken_by_one_of_them() -> None:
    assert len(RULES) == 11
    assert {rule for _, rule, _ in BROKEN} == {rule.__name__ for rule in RULES}


def test_jobs_that_are_all_alike_prove_nothing() -> None:
    assert "some that differ" in faults(Sound(), [Job(text="a")] * 3)["keeps_the_order"]


def test_a_rule_is_told_with_what_it_asks() -> None:
    with pytest.raises(EngineNotConformant, match=r"\n    Answers come in the order of the jobs"):
        check_engine(Sorting(), JOBS)


@pytest.mark.parametrize("engine", [Forgetful, Pairs, NoList, Generating, WithoutSuper])
def test_without_answers_the_other_rules_are_not_tried(engine: Callable[[], Sound]) -> None:
    with pytest.raises(EngineNotConformant) as raised:
        check_engine(engine(), JOBS)
    _, rule, _, last = str(raised.value).splitlines()
    assert rule.startswith(("answers_each_job: ", "describes_itself: "))
    assert last == "the rules that follow have not been tried"


def test_what_is_no_engine_and_no_job_is_refused() -> None:
    with pytest.raises(TypeError, match="an instance of a subclass of Engine"):
        check_engine(Sound, JOBS)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Job\\(text="):
        check_engine(Sound(), ["a", "b", "c"])  # type: ignore[list-item]


def test_too_few_jobs_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 3"):
        check_engine(Sound(), JOBS[:2])


def test_the_bound_is_what_scores_may_be_off() -> None:
    check_engine(Sociable(), JOBS, bound=0.3)


@pytest.mark.parametrize("kind", InputKind)
def test_odd_jobs_are_of_the_kind(kind: InputKind) -> None:
    odd = odd_jobs(kind)
    assert len(odd) > 5
    assert {job.kind for job in odd} == {kind}


def test_our_own_doubles_conform() -> None:
    check_engine(ScriptedEngine(SPEC), JOBS)
    scores = {"a": 0.5, "b": 0.25, "c": 0.25}
    answers = {"a": "x", "bb": scores, "ccc": JobError(ErrorCode.MODEL_FAILED, "no")}
    said = faults(StubEngine(answers, default="y"), JOBS)
    assert list(said) == ["labels_the_best_first"]  # which is the job that is to fail
    del answers["ccc"]
    check_engine(StubEngine(answers, default="y"), JOBS)
    images = [Job(image=Image(uri=name)) for name in "abc"]
    check_engine(
        StubEngine({"a": "x", "b": scores}, default="z", task=Task.IMAGE_CLASSIFICATION), images
    )
