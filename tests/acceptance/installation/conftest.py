"""The wheels and an installation of them, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.installation.built import Built, Installation, built, installed
from tests.acceptance.installation.neighbours import django_project as made


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return built(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return installed(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def django_project(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(installation, tmp_path_factory.getbasetemp())
