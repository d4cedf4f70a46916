"""How to test an app, as the page says, with the apps of the other pages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from labelmill.client import NewJob
from tests.support.fences import blocks
from tests.support.worker import Workers

PAGE = [block for block in blocks() if block.page == "docs/how-to/test.md"]


def python_of(page: str) -> list[str]:
    """The Python of a how-to."""
    name = f"docs/how-to/{page}"
    return [block.text for block in blocks() if (block.page, block.language) == (name, "python")]


def run(folder: Path, *words: str, code: int = 0, **environment: str) -> str:
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
    assert done.returncode == code, done.stdout
    return done.stdout


def test_the_app_of_the_fastapi_page(tmp_path: Path) -> None:
    short, conftest, tests, _, celery = python_of("test.md")
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


def test_an_engine_of_your_own(workers: Workers) -> None:
    page = "docs/how-to/engine.md"
    engine, models, test = [block.text for block in blocks() if block.page == page]
    folder = workers.folder
    (folder / "test_urgency.py").write_text(test)
    workers.configure(models)
    words = ("-m", "pytest", "-p", "no:cacheprovider", "test_urgency.py")
    (folder / "urgency.py").write_text(engine.replace("len(WORDS.findall(text))", "int(text)"))
    assert "answers_each_job: the engine raises ValueError" in run(folder, *words, code=1)
    (folder / "urgency.py").write_text(engine)
    assert "1 passed" in run(folder, *words)

    workers.start()
    with workers.client() as client:
        ids = client.submit_many(
            "urgency", [NewJob(text=text) for text in ("Now!!!", "ok", "\t")]
        ).ids
        rows = [client.wait(each) for each in ids]
    assert [row.label for row in rows] == ["urgent", "calm", None]
    assert rows[2].error_code == "invalid_job"
    assert {(row.checkpoint, row.revision) for row in rows} == {("rules", "words-1")}
