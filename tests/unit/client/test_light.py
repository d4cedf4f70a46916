"""The client is light: what it loads, what that takes, and what it offers.

Each look is into a process of its own. None is at the time, which is the machine's business; the
command ``python -m tests.versions --light`` measures that.
"""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from labelmill import client
from labelmill.client import client as client_module
from labelmill.client import transactions

MOST_MEGABYTES = 40

OTHERS_BUSINESS = (
    *("alembic", "celery", "fsspec", "hiredis", "kombu", "psycopg", "rich", "tenacity", "typer"),
    *("PIL", "fastapi", "jinja2", "numpy", "pyarrow", "torch", "transformers"),
)
OF_THE_FIRST_CLIENT = ("pydantic_settings", "redis", "sqlalchemy", "asyncio", "multiprocessing")


def run(code: str, *, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run some code in a fresh process, in a folder where there are no settings."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )


def loaded(code: str, folder: Path) -> set[str]:
    """The modules that a process has after some code."""
    done = run(f"import json, sys\n{code}\nprint(json.dumps(list(sys.modules)))", folder=folder)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_the_import_loads_neither_servers_nor_tools(tmp_path: Path) -> None:
    modules = loaded("import labelmill.client", tmp_path)
    assert modules & {*OTHERS_BUSINESS, *OF_THE_FIRST_CLIENT} == set()
    assert "pydantic" in modules


def test_the_first_client_loads_redis_and_the_orm_and_no_more(tmp_path: Path) -> None:
    make = "Client('redis://127.0.0.1:1', 'sqlite:///labelmill.db').close()"
    modules = loaded(f"from labelmill.client import Client\n{make}", tmp_path)
    # redis-py itself takes hiredis where it is installed.
    assert modules & {*OTHERS_BUSINESS} <= {"hiredis"}
    assert {"redis", "sqlalchemy"} <= modules


def test_the_import_takes_little_memory(tmp_path: Path) -> None:
    # Not ru_maxrss: a process inherits that of the one that has started it.
    code = "import labelmill.client\nprint(open('/proc/self/status').read())"
    done = run(code, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    [kilobytes] = (
        int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("VmHWM:")
    )
    assert kilobytes / 1024 <= MOST_MEGABYTES


@pytest.mark.parametrize("name", client.__all__)
def test_a_name_that_is_offered_is_there_and_described(name: str) -> None:
    value = getattr(client, name)
    if isinstance(value, type):
        assert value.__dict__["__doc__"]
        # A dataclass without a docstring gets its signature for one.
        assert not value.__dict__["__doc__"].startswith(f"{name}(")
    else:
        assert name in described_aliases()


def test_whatever_else_is_there_is_not_ours() -> None:
    public = {
        name
        for name, value in vars(client).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and getattr(value, "__module__", "").startswith("labelmill.")
    }
    assert public <= set(client.__all__)


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        client.nonsense  # noqa: B018


def test_without_the_command_line_one_line_says_how_to_get_it(tmp_path: Path) -> None:
    hidden = "import runpy, sys\nsys.modules['typer'] = None"
    done = run(f"{hidden}\nrunpy.run_module('labelmill', run_name='__main__')", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "error: the command line needs more: pip install 'labelmill[cli]'\n"
    assert done.stdout == ""


def described_aliases() -> Iterator[str]:
    """The names of the client's modules that have a string below them."""
    for module in (client_module, transactions):
        statements = ast.parse(inspect.getsource(module)).body
        for statement, below in pairwise(statements):
            match statement, below:
                case ast.Assign([ast.Name(name)]), ast.Expr(ast.Constant(str())):
                    yield name
