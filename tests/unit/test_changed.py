"""Which tests a change touches."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import grimp
import pytest

from tests import changed

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return changed.import_graph()


@pytest.mark.parametrize(
    ("path", "touched", "untouched"),
    [
        # By an import, by one of its imports, by a process.
        (
            "producer/labelmill/export/confusion.py",
            {"unit/export/test_confusion.py", "acceptance/test_export.py"},
            {"unit/core/test_job.py", "integration/export/test_join.py", "faults/test_kills.py"},
        ),
        (
            "db/labelmill/db/results.py",
            {"integration/db/test_results.py", "integration/worker/test_worker.py"},
            {"unit/core/test_job.py", "unit/images/test_decode.py"},
        ),
        (
            "worker/labelmill/engines/packing.py",
            {"integration/engines/test_parity_texts.py", "faults/test_bad_input.py"},
            {"faults/test_kills.py", "integration/gateway/test_access.py"},
        ),
        # What is no module belongs to its room.
        (
            "core/labelmill/broker/leases/no-such.lua",
            {"integration/broker/test_leases.py", "faults/test_kills.py"},
            {"unit/core/test_job.py", "integration/engines/test_parity_texts.py"},
        ),
        (
            "tests/support/faulty.py",
            {"faults/test_random_kills.py", "integration/worker/test_fetched_jobs.py"},
            {"acceptance/test_export.py", "integration/db/test_results.py"},
        ),
        (
            "tests/integration/gateway/conftest.py",
            {"integration/gateway/test_access.py"},
            {"unit/gateway/test_summaries.py"},
        ),
        (
            "docs/reference/errors.md",
            {"unit/test_docs.py", "unit/gateway/test_page_advice.py"},
            {"acceptance/test_cli.py"},
        ),
        (
            "docs/how-to/scale.md",
            {"integration/testing/test_how_to.py", "acceptance/how_to/test_how_to.py"},
            {"integration/gateway/test_access.py"},
        ),
        (
            "docs/quickstart.md",
            {"acceptance/how_to/test_other_pages.py"},
            {"integration/gateway/test_access.py"},
        ),
        ("README.md", {"acceptance/how_to/test_other_pages.py"}, {"unit/core/test_job.py"}),
        ("CONTRIBUTING.md", {"unit/test_docs.py"}, {"unit/core/test_job.py"}),
        ("worker/README.md", {"unit/test_docs.py"}, {"unit/core/test_job.py"}),
        (
            "deploy/kubernetes/new.yaml",
            {"unit/deploy/test_kubernetes.py"},
            {"unit/test_changed.py"},
        ),
    ],
)
def test_a_change_reaches_what_uses_it(path: str, touched: set[str], untouched: set[str]) -> None:
    found = set(changed.selected([path]))
    assert {f"tests/{each}" for each in touched} <= found
    assert not {f"tests/{each}" for each in untouched} & found
    assert all((ROOT / "tests" / each).exists() for each in touched | untouched)


def test_what_nobody_knows_changes_everything() -> None:
    every = {each.relative_to(ROOT).as_posix() for each in (ROOT / "tests").rglob("test_*.py")}
    assert set(changed.selected(["pyproject.toml"])) == every
    assert set(changed.selected(["tests/conftest.py"])) == every


def test_nothing_changes_nothing() -> None:
    assert changed.selected([]) == []


def test_light_tests_need_no_torch() -> None:
    found = set(changed.light())
    assert {"tests/unit/core/test_job.py", "tests/unit/sources/test_delimited.py"} <= found
    assert not {"tests/unit/engines/test_labels.py", "tests/unit/images/test_preprocess.py"} & found


def test_whatever_starts_a_process_says_which(graph: grimp.ImportGraph) -> None:
    starting = {
        module
        for module, path in changed.modules().items()
        if module.startswith("tests.")
        and path not in changed.READS
        and "\nimport subprocess\n" in (ROOT / path).read_text()
    }
    declared = {name for prefix in changed.STARTS for name in changed.below(prefix, graph)}
    assert starting - declared == {"tests.changed", "tests.unit.test_changed"}


def test_what_is_declared_exists(graph: grimp.ImportGraph) -> None:
    names = [*changed.STARTS, *(name for each in changed.STARTS.values() for name in each)]
    names += [name for each in changed.READS.values() for name in each]
    assert [name for name in names if not changed.below(name, graph)] == []
    assert [path for path in changed.READS if not (ROOT / path).exists()] == []


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_git_names_what_differs_and_what_is_new(tmp_path: Path) -> None:
    for name in ("same.py", "other.py", "gone.py"):
        (tmp_path / name).touch()
    for words in ("init -q", "add .", "-c user.name=a -c user.email=a@b commit -q -m a"):
        subprocess.run(["git", *words.split()], cwd=tmp_path, check=True)
    (tmp_path / "other.py").write_text("x = 1")
    (tmp_path / "gone.py").unlink()
    (tmp_path / "größer.py").touch()
    assert changed.changed_since("HEAD", tmp_path) == ["gone.py", "other.py", "größer.py"]
