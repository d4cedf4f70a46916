"""The reference says what the code has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labelmill import client
from labelmill.cli.main import COMMANDS, command
from labelmill.core.catalog import ModelSpec
from labelmill.core.errors import ErrorCode
from labelmill.gateway.app import create_app
from labelmill.gateway.settings import GatewaySettings
from labelmill.worker.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
FOLDERS = ("app", "bench", "core", "db", "producer", "tests", "worker")
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *(ROOT / folder / "README.md" for folder in FOLDERS),
    *sorted((ROOT / "docs").rglob("*.md")),
]
# An index page has no files beside the README: its links name the repository.
OURS = re.compile(
    r"https://(github\.com|raw\.githubusercontent\.com)/labelmill/labelmill/(blob/)?main/"
)


def links(page: Path) -> list[str]:
    """Where a page's links lead, without the parts of pages."""
    text = page.read_text()
    inline = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    return inline + re.findall(r"^\[[^\]]+\]: ([^#\s]+)", text, re.MULTILINE)


def cells(page: str) -> dict[str, list[str]]:
    """The rows of a page's tables, by their first cell without backquotes."""
    rows = re.findall(r"^\| (.+) ?\|$", (REFERENCE / page).read_text(), re.MULTILINE)
    split = [[cell.strip() for cell in row.split(" | ")] for row in rows]
    return {row[0].strip("`"): row for row in split}


def test_every_setting_is_described_with_its_default() -> None:
    described = cells("settings.md")
    for name, field in (WorkerSettings.model_fields | GatewaySettings.model_fields).items():
        row = described[f"LABELMILL_{name.upper()}"]
        default = field.default
        if default in (None, ()):
            assert row[1] in ("none", "all")
        else:
            assert row[1] == f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def test_every_key_of_a_model_is_described() -> None:
    assert set(ModelSpec.model_fields) <= set(cells("settings.md"))


def test_every_error_code_is_described() -> None:
    assert set(ErrorCode) <= set(cells("errors.md"))


def test_every_command_and_option_is_described() -> None:
    described = cells("cli.md")
    commands = {f"labelmill {name}": command(name) for name in COMMANDS}
    for group in ("labelmill db", "labelmill dead", "labelmill token"):
        within = commands.pop(group).commands
        commands |= {f"{group} {name}": each for name, each in within.items()}
    for name, each in commands.items():
        row = next(row for first, row in described.items() if re.match(rf"{name}\b", first))
        for parameter in each.params:
            if parameter.param_type_name == "option" and parameter.name != "help":
                assert f"`{parameter.opts[0]}`" in row[2], f"{name} {parameter.opts[0]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if found := OURS.match(link):
            assert (ROOT / link[found.end() :]).exists(), link
        elif "://" not in link:
            assert (page.parent / link).exists(), link


def test_the_readme_s_links_work_on_an_index_page_too() -> None:
    readme = ROOT / "README.md"
    assert len(links(readme)) > 20
    assert [link for link in links(readme) if not link.startswith("https://")] == []
    text = readme.read_text()
    defined = set(re.findall(r"^\[([\w-]+)\]: ", text, re.MULTILINE))
    used = re.findall(
        r"(?<!\w)\[(\w[\w-]*)\](?![(\[:])", text
    )  # not an extra, as in labelmill[cli]
    assert defined == set(used)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tests_named_in_the_docs_exist(page: Path) -> None:
    files = {file: file.read_text() for file in (ROOT / "tests").rglob("test_*.py")}
    for path, name in re.findall(r"([\w/]+\.py)::(test_\w+)", page.read_text()):
        named = [text for file, text in files.items() if str(file).endswith(f"/{path}")]
        assert any(f"def {name}(" in text for text in named), f"{path}::{name}"


def test_every_name_of_the_python_api_is_described() -> None:
    page = (REFERENCE / "python.md").read_text()
    methods = [f".{name}" for name in vars(client.Client) if not name.startswith("_")]
    for name in [*client.__all__, "ResultBackend", *methods]:
        assert re.search(rf"`{re.escape(name)}\b", page), name


def test_every_request_of_the_gateway_is_described() -> None:
    described = cells("http.md")
    document = create_app(GatewaySettings(), is_open=True).openapi()
    asked = {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method in methods
    }
    assert asked == {name for name in described if name.startswith(("GET ", "POST "))}
