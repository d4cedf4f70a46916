"""The front door lists all commands without importing what they need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from labelmill.cli.main import COMMANDS, app, command, main
from labelmill.core.errors import ModelLoadError

HEAVY = ("torch", "transformers", "matplotlib", "fastapi", "pyarrow", "PIL", "jinja2")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_of_a_command_what_its_own_help_says(name: str) -> None:
    help_text = command(name).help or ""
    assert COMMANDS[name].summary == " ".join(help_text.split("\n\n")[0].split())


def test_all_commands_are_listed() -> None:
    listed = CliRunner().invoke(app, ["--help"]).output
    assert all(name in listed for name in COMMANDS)


def test_there_is_no_other_command() -> None:
    result = CliRunner().invoke(app, ["strangers"])
    assert result.exit_code == 2
    assert "No such command 'strangers'" in result.output


@pytest.mark.parametrize(
    ("arguments", "spared"),
    [
        (["--help"], (*HEAVY, "sqlalchemy", "redis", "celery", "pydantic")),
        (["results", "--help"], (*HEAVY, "celery")),
        (["status", "--help"], HEAVY),
        (["submit", "--help"], HEAVY),
        (["worker", "--help"], HEAVY),
        (["dead", "--help"], HEAVY),
        (["db", "--help"], (*HEAVY, "redis", "celery")),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_command_imports_no_package_that_it_does_not_need(
    tmp_path: Path, arguments: list[str], spared: tuple[str, ...]
) -> None:
    code = (
        "import sys\nfrom labelmill.cli.main import app\n"
        f"try: app({arguments})\n"
        "except SystemExit: pass\n"
        f"sys.exit(', '.join(name for name in {spared} if name in sys.modules) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("error", [ModelLoadError("too little memory"), MemoryError()])
def test_an_error_is_one_line_without_memory_for_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    def starve(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(sys.modules[main.__module__], "app", fail)
    monkeypatch.setattr("rich.console.Console.print", starve)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "too little memory" in line
