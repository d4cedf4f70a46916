"""The reference says what the code has."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from itertools import chain
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from celery import states
from pydantic import TypeAdapter
from ruamel.yaml import YAML

from labelmill import client, testing
from labelmill.broker.announcements import JobFinished
from labelmill.broker.inspect import QueueDepth
from labelmill.cli.main import COMMANDS, command
from labelmill.core import errors
from labelmill.core.catalog import ModelSpec
from labelmill.core.errors import ErrorCode
from labelmill.core.result import RESULT_COLUMNS
from labelmill.core.states import JobState, Status
from labelmill.export import join
from labelmill.gateway import schemas
from labelmill.gateway.app import create_app
from labelmill.gateway.settings import GatewaySettings
from labelmill.sources import readers
from labelmill.testing import conformance
from labelmill.webhook.delivery import DeliveryOutcome
from labelmill.webhook.settings import WebhookSettings
from labelmill.worker.settings import WorkerSettings
from tests.support.fences import PAGES
from tests.unit.test_house import FOLDERS, ROOMS

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
# An index page has no files beside the README: its links name the repository.
OURS = re.compile(
    r"https://(github\.com|raw\.githubusercontent\.com)/labelmill/labelmill/(blob/)?main/"
)


def links(page: Path) -> list[str]:
    """Where a page's links lead, without the parts of pages."""
    text = page.read_text()
    inline = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    return inline + re.findall(r"^\[[^\]]+\]: ([^#\s]+)", text, re.MULTILINE)


@cache
def sources_of_tests() -> dict[Path, str]:
    """The source of each file of tests."""
    return {file: file.read_text() for file in (ROOT / "tests").rglob("test_*.py")}


def cells(page: str) -> dict[str, list[str]]:
    """The rows of a page's tables, by their first cell without backquotes."""
    rows = re.findall(r"^\| (.+) ?\|$", (REFERENCE / page).read_text(), re.MULTILINE)
    split = [[cell.strip() for cell in row.split(" | ")] for row in rows]
    return {row[0].strip("`"): row for row in split}


def test_every_setting_is_described_with_its_default() -> None:
    described = cells("settings.md")
    rooms = (WorkerSettings, GatewaySettings, WebhookSettings)
    for name, field in chain.from_iterable(each.model_fields.items() for each in rooms):
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


def test_every_error_of_ours_is_in_the_tree() -> None:
    _, _, tree = (REFERENCE / "errors.md").read_text().partition("```\nLabelmillError")
    tree = tree.partition("```")[0]
    ours = {name for name, each in vars(errors).items() if isinstance(each, type)}
    assert set(re.findall(r"\b[A-Z]\w+", tree)) == ours - {"ErrorCode", "LabelmillError", "StrEnum"}


def test_every_column_of_a_result_is_described() -> None:
    table = (REFERENCE / "job.md").read_text().partition("## The row")[2].partition("\n## ")[0]
    names = [row.partition(" | ")[0] for row in re.findall(r"^\| (`.+) \|$", table, re.MULTILINE)]
    assert re.findall(r"`(\w+)`", " ".join(names)) == list(RESULT_COLUMNS)


def test_every_format_is_named() -> None:
    page = (ROOT / "docs" / "how-to" / "bulk.md").read_text()
    assert [name for name in readers.FORMATS if f"--format {name}`" not in page] == []
    assert [suffix for suffix in readers.BY_SUFFIX if f"`{suffix}`" not in page] == []


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
    files = sources_of_tests()
    for path, name in re.findall(r"([\w/]+\.py)::(test_\w+)", page.read_text()):
        named = [text for file, text in files.items() if str(file).endswith(f"/{path}")]
        assert any(f"def {name}(" in text for text in named), f"{path}::{name}"


def test_every_name_of_the_python_api_is_described() -> None:
    page = (REFERENCE / "python.md").read_text()
    methods = [f".{name}" for name in vars(client.Client) if not name.startswith("_")]
    for name in [*client.__all__, "ResultBackend", *methods]:
        assert re.search(rf"`{re.escape(name)}\b", page), name
    for name in testing.__all__:
        assert re.search(rf"`{name}\b", page), name


def test_every_request_of_the_gateway_is_described() -> None:
    described = cells("http.md")
    document = create_app(GatewaySettings(), is_open=True).openapi()
    asked = {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method in methods
    }
    assert asked == {name for name in described if re.match(r"[A-Z]+ /", name)}


def test_every_code_of_a_problem_is_described() -> None:
    described = {
        (status, code)
        for status, row in cells("http.md").items()
        if status.isdigit()
        for code in re.findall(r"`(\w+)`", row[1])
    }
    sources = [file.read_text() for file in ROOMS["gateway"].rglob("*.py")]
    named = {code for text in sources for code in re.findall(r'\bcode="([a-z_]+)"', text)}
    raised = {each for text in sources for each in re.findall(r'\b([45]\d\d),\s*"([a-z_]+)"', text)}
    assert len(raised) > 20
    assert raised <= described
    of_http = {"method_not_allowed"}
    codes = {code for _, code in described} - {*ErrorCode} - of_http
    assert {code for _, code in raised} | named == codes


def is_there(name: str) -> bool:
    """Whether a module has what a name such as ``core.job.Job`` says; nothing is imported."""
    room, *parts = name.split(".")
    place = ROOMS[room]
    while parts and ((place / parts[0]).is_dir() or (place / f"{parts[0]}.py").is_file()):
        place /= parts.pop(0)
    files = place.glob("*.py") if place.is_dir() else [place.with_suffix(".py")]
    source = "".join(file.read_text() for file in files)
    return all(re.search(rf"\b{part}\b", source) for part in parts)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_and_names_of_ours_exist(page: Path) -> None:
    if page.name == "CHANGELOG.md":  # it speaks of former names, too
        return
    for name in re.findall(r"`(?:labelmill\.)?([a-z_]+(?:\.\w+)+)(?:\(\))?`", page.read_text()):
        room = name.partition(".")[0]
        if room in ROOMS and not name.endswith(".py"):
            assert is_there(name), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_of_ours_exist(page: Path) -> None:
    folders = "|".join((*FOLDERS, "tests", "docs", "deploy"))
    for path in re.findall(rf"`((?:{folders})/[\w./-]*)`", page.read_text()):
        assert (ROOT / path).exists(), path


def words_of(page: str, heading: str) -> dict[str, set[str]]:
    """The rows of a table that begins with a heading: the words in backquotes, by first cell."""
    table = (ROOT / "docs" / page).read_text().partition(f"\n| {heading} ")[2].partition("\n\n")[0]
    rows = [line.split(" | ") for line in table.splitlines()[2:]]
    return {first.strip("| `"): set(re.findall(r"`([^`]+)`", second)) for first, second, *_ in rows}


def test_the_states_of_a_job_are_those_of_the_code() -> None:
    text = (ROOT / "docs" / "explanation" / "job.md").read_text()
    drawing = text.partition("```mermaid\n")[2].partition("```")[0]
    arrows = re.findall(r"^ +(\S+) --> ([^\s:]+)", drawing, re.MULTILINE)
    drawn = {state for arrow in arrows for state in arrow} - {"[*]"}
    # What is lost, or has expired, is nowhere counted: it follows from the others.
    assert drawn == {*Status, *QueueDepth.__annotations__, "expired", "lost"}
    assert set(words_of("explanation/job.md", "state")) == drawn

    spoken = iter(words_of("explanation/job.md", "who says it").values())
    row, depths, job, model, celery, run, export, delivery = spoken
    assert row == set(Status) == set(get_args(get_type_hints(JobFinished)["status"]))
    assert depths == set(QueueDepth.__annotations__)
    state = TypeAdapter(schemas.JobOut.model_fields["state"].annotation)
    assert job == set(JobState) == set(state.json_schema()["enum"])
    assert model == {"running", *QueueDepth.__annotations__} - {"leased"}
    assert model <= set(schemas.Model.model_fields)
    assert celery == {states.PENDING, states.SUCCESS, states.FAILURE, states.REVOKED}
    assert run == {"submitted", "succeeded", "failed", "finished"}
    assert all(hasattr(client.RunProgress(1, 1, 0), name) for name in run)
    assert export == {*Status, "rejected"}
    assert '= "rejected"' in Path(join.__file__).read_text()
    assert delivery == {outcome.value for outcome in DeliveryOutcome}


def test_every_public_name_is_in_the_python_reference() -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs" / "api").glob("*.rst"))
    named = set(re.findall(r"^\.\. auto\w+:: (?:[\w.]+\.)?(\w+)$", pages, re.MULTILINE))
    assert set(client.__all__) | {"ResultBackend", "Engine", "verify"} <= named
    assert set(testing.__all__) <= named


def test_every_rule_of_engines_is_listed() -> None:
    page = (ROOT / "docs" / "how-to" / "engine.md").read_text()
    rows = [
        f"| `{rule.__name__}` | {' '.join((rule.__doc__ or '').split()).replace('``', '`')} |"
        for rule in conformance.RULES
    ]
    assert "\n".join(rows) in page


def test_every_decision_is_in_the_index_and_whole() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "index.md").read_text()
    records = sorted(folder.glob("0*.md"))
    for number, record in enumerate(records, 1):
        text = record.read_text()
        title = re.match(rf"# {number}\. (.+)\n", text)
        assert title
        assert f"| {number} | [{title[1]}]({record.name}) |" in index
        assert re.findall(r"^\*\*(.+?)\.\*\*", text, re.MULTILINE) == [
            "Context",
            "Decision",
            "Tried or measured",
            "Consequences",
        ]
        assert len(text.splitlines()) <= 25
    assert index.count("\n| ") == len(records) + 1  # and its head


def test_make_help_lists_every_target_in_a_group() -> None:
    makefile = (ROOT / "Makefile").read_text()
    [phony] = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    done = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    listed = re.findall(r"^  make ([a-z-]+) +\S", done.stdout, re.MULTILINE)
    assert sorted(listed) == sorted(phony.split())
    targets = re.findall(r"^([a-z][a-z-]+):", makefile, re.MULTILINE)
    assert sorted(targets) == sorted(listed)
    assert all(len(line) <= 120 for line in done.stdout.splitlines())
    groups = done.stdout.strip().split("\n\n")
    assert all(re.match(r"[A-Z][a-z ]+\n  make ", group) for group in groups)


def test_contributing_names_targets_that_there_are() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = re.findall(r"`make ([a-z-]+)", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(named) > 8
    assert [name for name in named if f"\n{name}:" not in makefile] == []


def test_what_others_run_says_the_same_words() -> None:
    yaml = YAML(typ="safe")
    workflow = yaml.load(ROOT / ".github" / "workflows" / "check.yml")
    [job] = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\S+)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE):
        assert f"\n{target}:" in makefile
    [local] = yaml.load(ROOT / ".pre-commit-config.yaml")["repos"]
    for hook in local["hooks"]:
        program, *words = hook["entry"].split()
        assert hook["language"] == "system"
        assert (ROOT / program).exists() or not (ROOT / ".venv").exists(), program
        assert all((ROOT / word).exists() for word in words if word.startswith("tests/"))
