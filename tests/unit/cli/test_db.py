from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from labelmill.cli.db import app
from labelmill.core.settings import DatabaseSettings
from labelmill.db.schema import head


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = f"sqlite:///{tmp_path}/labelmill.db"
    monkeypatch.setenv("LABELMILL_DATABASE_URL", url)
    return url


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout.strip()


def test_upgrade_and_current(url: str) -> None:
    assert run("current") == f"revision none; this version needs {head()}"
    assert run("upgrade") == f"upgraded from revision none to {head()}"
    assert run("upgrade") == f"nothing to do: the database is at revision {head()}"
    assert run("current") == f"revision {head()}; this version needs {head()}"


def test_another_database(url: str, tmp_path: Path) -> None:
    run("upgrade", "--database-url", f"sqlite:///{tmp_path}/other.db")

    assert run("current").startswith("revision none")
    assert (tmp_path / "other.db").exists()


def test_settings_from_the_file_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LABELMILL_DATABASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    assert DatabaseSettings().database_url == "sqlite:///labelmill.db"

    (tmp_path / ".labelmill").mkdir()
    (tmp_path / ".labelmill" / "env").write_text(
        "LABELMILL_DATABASE_URL=sqlite:///here.db\nLABELMILL_BROKER_URL=redis://x\n"
    )
    assert DatabaseSettings().database_url == "sqlite:///here.db"
