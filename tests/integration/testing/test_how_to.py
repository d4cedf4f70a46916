"""How to test an app, as the page says, with the apps of the other pages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fences import ROOT, blocks

PAGE = [block for block in blocks() if block.page == "docs/how-to/test.md"]
ENGINE = """
[models.tickets]
task = "text-classification"
checkpoint = "."
engine = "tests.support.engines:ScriptedEngine"
"""


def python_of(page: str) -> list[str]:
    """The Python of a how-to."""
    name = f"docs/how-to/{page}"
    return [block.text for block in blocks() if (block.page, block.language) == (name, "python")]


def run(folder: Path, *words: str, **environment: str) -> str:
    """Run Python in a folder where there are no settings; returns what it says."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_app_of_the_fastapi_page(tmp_path: Path) -> None:
    short, conftest, tests, _, celery, _ = python_of("test.md")
    (tmp_path / "app.py").write_text(python_of("fastapi.md")[0])
    (tmp_path / "conftest.py").write_text(conftest)
    (tmp_path / "test_app.py").write_text(tests)
    said = run(tmp_path, "-m", "pytest", "-p", "no:cacheprovider")
    assert f"{tests.count('def test_')} passed" in said
    assert not (tmp_path / "labelmill.db").exists()
    (tmp_path / "short.py").write_text(f"{short}\n{celery}")
    assert run(tmp_path, "short.py") == ""


def test_the_app_of_the_django_page(tmp_path: Path) -> None:
    settings, models, views = python_of("django.md")
    named = '"NAME": url.database,'
    assert named in settings
    support = tmp_path / "support"
    support.mkdir()
    (support / "__init__.py").touch()
    (support / "models.py").write_text(models)
    (support / "views.py").write_text(views)
    [tests] = [block.text for block in PAGE if "TransactionTestCase" in block.text]
    (support / "tests.py").write_text(tests)
    in_a_file = f'{named}\n        "TEST": {{"NAME": "test.db"}},'
    (tmp_path / "settings.py").write_text(settings.replace(named, in_a_file))
    environment = {"DJANGO_SETTINGS_MODULE": "settings"}
    run(tmp_path, "-m", "django", "makemigrations", "support", "--pythonpath", ".", **environment)
    said = run(tmp_path, "-m", "django", "test", "--pythonpath", ".", **environment)
    assert "Ran 1 test" in said
    assert "\nOK\n" in said


@pytest.mark.parametrize(("breaks", "code"), [(False, 0), (True, 1)])
def test_an_engine_of_yours(tmp_path: Path, breaks: bool, code: int) -> None:
    [test] = [block.text for block in PAGE if "check_engine" in block.text and block.mark]
    (tmp_path / "models.toml").write_text(ENGINE)
    # An engine that ends the check with what one of the jobs tells it to do.
    given = test.replace("Thank you!", "raise") if breaks else test
    (tmp_path / "test_engine.py").write_text(given)
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_engine.py"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout
    assert ("keeps_the_order: the engine raises ValueError" in done.stdout) is breaks
