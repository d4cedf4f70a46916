"""The tests of a change: those that reach, by imports, a file that git says has changed.

    python -m tests.changed
    python -m tests.changed --base main -n 2
    python -m tests.changed --light

Without ``--base`` it is what has changed since the last commit, new files included. With
``--light`` it is the unit tests that import no torch, whatever has changed. All other words go to
pytest. Imports are followed through the tree; what a test starts as a process is declared in
``STARTS``, and what it reads besides in ``READS``. A file of which nothing is known, such as
pyproject.toml, changes everything.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from itertools import product
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = [each for each in PYPROJECT["tool"]["pytest"]["ini_options"]["pythonpath"] if each != "."]
PACKAGES = PYPROJECT["tool"]["importlinter"]["root_packages"]

_ENGINES = ["labelmill.engines.text", "labelmill.engines.image"]

#: Modules of tests, by the beginnings of their names, and the modules that they start as processes.
STARTS: dict[str, list[str]] = {
    "tests.support.worker": ["labelmill.cli.worker"],
    "tests.support.redis_servers": [],  # Redis
    "tests.support.together": ["labelmill.cli.main"],
    "tests.support.web": [],  # openssl
    "tests.support.pgbouncer": [],
    "tests.unit.cli.test_main": ["labelmill.cli"],
    "tests.unit.client.test_light": ["labelmill.client"],
    "tests.integration.local.test_servers": ["labelmill.local"],
    "tests.integration.local.test_supervisor": [],  # tests.support.worker says it
    "tests.unit.test_blocks": ["labelmill.cli"],
    "tests.unit.test_docs": [],  # make
    "tests.unit.test_house": ["labelmill"],
    "tests.unit.testing.test_doubles": ["labelmill.testing"],
    "tests.integration.engines.test_real_models": ["labelmill.cli.submit", *_ENGINES],
    "tests.integration.gateway.test_how_to": [],  # curl
    "tests.integration.testing.test_engines": _ENGINES,
    "tests.integration.testing.test_how_to": ["labelmill.client", "labelmill.testing"],
    "tests.integration.test_before_rooms": ["labelmill.cli", "labelmill.worker"],
    "tests.integration.webhook.test_webhook": ["labelmill.cli.webhook"],
    "tests.integration.worker.test_fetched_jobs": _ENGINES,
    "tests.integration.db.test_neighbours": ["labelmill.cli"],
    "tests.integration.db.test_refused_jobs": ["labelmill.cli"],
    "tests.integration.worker.test_presence": ["labelmill.worker"],
    "tests.integration.worker.test_worker": ["labelmill.worker"],
    "tests.faults.test_bad_input": _ENGINES,
    "tests.faults.test_database_away": ["labelmill.cli.health"],
    "tests.faults.test_ends": ["labelmill.cli", "labelmill.worker"],
    "tests.faults.test_environment": ["labelmill.cli", "labelmill.worker"],
    "tests.faults.test_gateway": ["labelmill.cli.serve"],
    "tests.faults.test_limits": ["labelmill.cli", "labelmill.engines.text"],
    "tests.faults.test_other_queues": ["labelmill.cli.status"],
    "tests.acceptance.test_looking": ["labelmill.cli.health"],
    "tests.faults.test_redis_data": ["labelmill.local"],
    "tests.faults.test_refused_rows": ["labelmill.cli"],
    "tests.faults.test_remote_control": ["labelmill.worker"],
    "tests.faults.test_submit_kills": ["labelmill.cli.submit"],
    "tests.acceptance.how_to": ["labelmill"],
    "tests.acceptance.installation": ["labelmill"],
    "tests.acceptance.page": ["labelmill.cli.serve", *_ENGINES],
    "tests.acceptance.test_bench": ["labelmill.cli.bench", "labelmill.bench", *_ENGINES],
    "tests.acceptance.test_cli": ["labelmill.cli", "labelmill.gateway", "labelmill.worker"],
    "tests.acceptance.test_demo": ["labelmill.cli", "labelmill.demo", *_ENGINES],
    "tests.acceptance.test_export": ["labelmill.cli.results", "labelmill.cli.evaluate"],
    "tests.acceptance.test_kit": ["labelmill.bench", *_ENGINES],
    "tests.acceptance.test_submit": ["labelmill.cli.submit"],
}

#: Files, by the beginnings of their paths, and the tests that read them; the first entry counts.
READS: dict[str, list[str]] = {
    "docs/how-to/": [
        "tests.unit.test_docs",
        "tests.acceptance.how_to",
        *(f"tests.integration.{room}.test_how_to" for room in ("client", "gateway", "testing")),
    ],
    "docs/reference/errors.md": ["tests.unit.test_docs", "tests.unit.gateway.test_page_advice"],
    "docs/quickstart.md": ["tests.unit.test_docs", "tests.acceptance"],
    "docs/index.md": ["tests.unit.test_docs", "tests.acceptance.how_to"],
    "docs/": ["tests.unit.test_docs", "tests.acceptance.installation"],
    "README.md": ["tests.unit.test_docs", "tests.acceptance"],
    "bench/kit/": [
        "tests.unit.test_docs",
        "tests.unit.bench.test_kit",
        "tests.acceptance.test_kit",
    ],
    "deploy/": ["tests.unit.deploy", "tests.unit.test_docs"],
    "docker-compose.yml": ["tests.unit.deploy"],
    "Dockerfile": ["tests.unit.deploy"],
    "CHANGELOG.md": ["tests.unit.test_docs"],
    "CONTRIBUTING.md": ["tests.unit.test_docs"],
    "SECURITY.md": ["tests.unit.test_docs"],
    ".github/": ["tests.unit.test_docs"],
    ".pre-commit-config.yaml": ["tests.unit.test_docs"],
    **{f"{folder}/README.md": ["tests.unit.test_docs"] for folder in (*FOLDERS, "tests")},
    "tests/data/": ["tests.integration.test_before_rooms"],
    "tests/typing/": [],  # `make check`
    "tests/versions.py": [],  # it, and what follows, are run by hand
    "tests/compatibility.py": [],
    "tests/soak/": [],
    "tests/screenshots.py": [],
    "tests/typecheck.py": [],
}

#: They look at every file of the tree, and are quick.
_HOUSE = ("tests.unit.test_house", "tests.unit.test_docs", "tests.unit.test_blocks")

# What a test names and does not import: "-m", "tests.support.faulty"; monkeypatch.setattr("…").
_QUOTED = re.compile(r"""["']((?:labelmill|tests)(?:\.\w+)+)""")
_TORCH = re.compile(r"^(?:import|from) (?:torch|transformers|safetensors)\b", re.MULTILINE)
# They load what they are asked for: a command, a model's engine. Who starts them says which.
_LOADERS = ("labelmill.cli.main", "labelmill.engines.load")


def selected(changed: Iterable[str]) -> list[str]:
    """The files of tests that these files' changes touch.

    Parameters:
        changed: paths from the root of the tree.
    """
    graph = import_graph()
    touched = {*_HOUSE} if changed else set()
    for path in changed:
        touched |= _touched_by(path, graph)
    return sorted(
        path
        for module, path in modules().items()
        if module in touched and Path(path).name.startswith("test_")
    )


def light() -> list[str]:
    """The files of unit tests that neither import torch nor start what does."""
    graph = import_graph()
    heavy = {name for name, path in modules().items() if _TORCH.search((ROOT / path).read_text())}
    return sorted(
        path
        for module, path in modules().items()
        if module.startswith("tests.unit.")
        and Path(path).name.startswith("test_")
        and not heavy & {module, *graph.find_upstream_modules(module)}
    )


def import_graph() -> grimp.ImportGraph:
    """What imports what, the processes that tests start included."""
    roots = [str(ROOT), *(str(ROOT / folder) for folder in FOLDERS)]
    sys.path += [each for each in roots if each not in sys.path]
    graph = grimp.build_graph(*PACKAGES, "tests", cache_dir=None)
    files = modules()
    for module in graph.modules & files.keys() - {*_LOADERS}:
        for name in _QUOTED.findall((ROOT / files[module]).read_text()):
            _add(graph, module, _module_of(name, graph))
    for loader, loaded in product(_LOADERS, _ENGINES):
        graph.remove_import(importer=loader, imported=loaded)
    for prefix, started in STARTS.items():
        names = [name for each in started for name in below(each, graph)]
        for module, name in product(below(prefix, graph), names):
            _add(graph, module, name)
    _add_fixtures(graph)
    return graph


def _add_fixtures(graph: grimp.ImportGraph) -> None:
    """What is imported by the conftest.py files above a test.

    Of the one above all, what its servers and databases need, and not for unit tests. A test that
    has its workers imports their type.
    """
    for conftest in [name for name in graph.modules if name.endswith(".conftest")]:
        folder = conftest.removesuffix(".conftest")
        needed = graph.find_modules_directly_imported_by(conftest)
        tests = [name for name in below(folder, graph) if ".test_" in name]
        if folder == "tests":
            needed -= {"tests.support.worker"}
            tests = [name for name in tests if not name.startswith("tests.unit.")]
        for test, name in product(tests, needed):
            _add(graph, test, name)


def _touched_by(path: str, graph: grimp.ImportGraph) -> set[str]:
    """The modules whose work may be another, now that this file is."""
    for prefix, tests in READS.items():
        if path.startswith(prefix):
            return {name for each in tests for name in below(each, graph)}
    known = {path: name for name, path in modules().items()}
    if path in known and not path.endswith(("__init__.py", "conftest.py")):
        changed = {known[path]} & graph.modules
    else:
        # A package's __init__.py, a script, a page: it is its package that has changed.
        changed = set(below(_package_of(path), graph))
    return changed.union(*(graph.find_downstream_modules(each) for each in changed))


def _package_of(path: str) -> str:
    """The package in which a file lies; nothing, which is above all of them, for no package."""
    top, *parts = Path(path).parent.parts or ("",)
    if top == "tests":
        return ".".join(["tests", *parts])
    if top in FOLDERS and len(parts) > 1:
        return ".".join(parts[:2])  # the room: its data is read from anywhere in it
    return ""


def below(prefix: str, graph: grimp.ImportGraph) -> list[str]:
    return [name for name in graph.modules if not prefix or f"{name}.".startswith(f"{prefix}.")]


def _add(graph: grimp.ImportGraph, importer: str, imported: str | None) -> None:
    if imported is not None and imported != importer:
        graph.add_import(importer=importer, imported=imported)


def _module_of(name: str, graph: grimp.ImportGraph) -> str | None:
    while name and name not in graph.modules:
        name = name.rpartition(".")[0]
    return name or None


@cache
def modules() -> dict[str, str]:
    """Every module of the tree, and its path."""
    found = {}
    for folder in (ROOT / "tests", *(ROOT / each / "labelmill" for each in FOLDERS)):
        for path in folder.rglob("*.py"):
            name = ".".join(path.relative_to(folder.parent).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path.relative_to(ROOT).as_posix()
    return found


def changed_since(base: str, root: Path = ROOT) -> list[str]:
    """The files that differ from a commit, and those that git does not know yet."""
    words = (["diff", "--name-only", base], ["ls-files", "--others", "--exclude-standard"])
    return [path for each in words for path in _git(root, *each, "-z").split("\0") if path]


def _git(root: Path, *words: str) -> str:
    command = ["git", *words]
    return subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> int:
    """Run them; pytest's exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.changed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--base", default="HEAD", help="what has changed since this commit")
    parser.add_argument("--light", action="store_true", help="unit tests without torch instead")
    parser.add_argument("--list", action="store_true", help="name the files, and run nothing")
    options, words = parser.parse_known_args()
    files = light() if options.light else selected(changed_since(options.base))
    if options.list or not files:
        print("\n".join(files) or f"nothing has changed since {options.base}")
        return 0
    every = sum(Path(path).name.startswith("test_") for path in modules().values())
    print(f"{len(files)} of {every} files of tests")
    return int(pytest.main([*words, *files]))


if __name__ == "__main__":
    sys.exit(main())
