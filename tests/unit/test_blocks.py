"""Every block of code in the docs is run by a test, or is parsed here and says why it is not run.

A comment right above a block says ``parsed: …`` or ``not run: …``, and why, or ``run: …``, and by
which test. One without a comment is run by the test that stands for its page in ``RUN``, but for
lines that need the network (``s3://``). How each how-to begins, up to ``labelmill up``, fixtures
do once for all of them.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from celery.bin.celery import celery as celery_command
from ruamel.yaml import YAML

from labelmill.broker.announcements import JobFinished
from labelmill.cli.main import COMMANDS, command
from labelmill.core.catalog import Catalog
from tests.support.fences import ROOT, Block, blocks

BLOCKS = list(blocks())
SHELLS = ("console", "sh")

_HOW_TO = "tests/acceptance/how_to/test_how_to.py"
_TEST = "tests/integration/testing/test_how_to.py"
_OTHERS = "tests/acceptance/how_to/test_other_pages.py"

#: By page and language, the test that runs all blocks which have no comment.
RUN = {
    ("README.md", "python"): f"{_OTHERS}::test_the_readme_and_the_first_page",
    ("README.md", "console"): f"{_OTHERS}::test_the_readme_and_the_first_page",
    ("docs/index.md", "python"): f"{_OTHERS}::test_the_readme_and_the_first_page",
    ("docs/quickstart.md", "console"): f"{_OTHERS}::test_the_quickstart",
    ("docs/how-to/bulk.md", "console"): f"{_OTHERS}::test_label_in_bulk_and_read_the_results",
    ("docs/how-to/results.md", "console"): f"{_OTHERS}::test_label_in_bulk_and_read_the_results",
    ("docs/how-to/enqueue.md", "console"): f"{_OTHERS}::test_label_in_bulk_and_read_the_results",
    ("docs/how-to/enqueue.md", "python"): f"{_OTHERS}::test_enqueue_from_python",
    ("docs/how-to/gateway.md", "sh"): f"{_OTHERS}::test_ask_the_gateway",
    ("docs/how-to/fastapi.md", "python"): f"{_HOW_TO}::test_from_a_form_to_a_label",
    ("docs/how-to/fastapi.md", "console"): f"{_HOW_TO}::test_from_a_form_to_a_label",
    ("docs/how-to/flask.md", "python"): f"{_HOW_TO}::test_from_a_form_to_a_label",
    ("docs/how-to/flask.md", "console"): f"{_HOW_TO}::test_from_a_form_to_a_label",
    ("docs/how-to/django.md", "python"): f"{_HOW_TO}::test_from_a_django_form_to_a_label",
    ("docs/how-to/django.md", "console"): f"{_HOW_TO}::test_from_a_django_form_to_a_label",
    ("docs/how-to/celery.md", "python"): f"{_HOW_TO}::test_from_a_celery_app_to_labels",
    ("docs/how-to/celery.md", "console"): f"{_HOW_TO}::test_from_a_celery_app_to_labels",
    ("docs/how-to/test.md", "python"): f"{_TEST}::test_the_app_of_the_fastapi_page",
    ("docs/how-to/webhooks.md", "python"): f"{_HOW_TO}::test_a_webhook_tells_an_app",
    ("docs/how-to/webhooks.md", "console"): f"{_HOW_TO}::test_a_webhook_tells_an_app",
}


def of(*languages: str) -> list[Block]:
    found = [block for block in BLOCKS if block.language in languages]
    assert found
    return found


def commands(block: Block) -> Iterator[list[str]]:
    """The words of each simple command of a shell's block."""
    text = re.sub(r"\\\n", " ", re.sub(r"<<END\n.*?^END$", "", block.text, flags=re.M | re.S))
    for line in text.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if not set(word) <= set("|;&"):
                words.append(word)
            elif words:
                yield words
                words = []


def of_ours(words: list[str]) -> list[str] | None:
    """What is behind ``labelmill`` in a command, or None."""
    if words[0] == "labelmill":
        return words[1:]
    if words[:3] == ["docker", "compose", "exec"] and "labelmill" in words[4:5]:
        return words[5:]
    return None


def parse(words: list[str]) -> None:
    """Have our command line's parser read the words behind ``labelmill``."""
    name, *rest = words
    found = command(name)
    if hasattr(found, "commands"):
        found, rest = found.commands[rest[0]], rest[1:]
    found.make_context(name, rest)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_is_accounted_for(block: Block) -> None:
    if block.language in ("", "mermaid"):  # a drawing
        assert not block.mark
        return
    said, _, why = block.mark.partition(": ")
    if said in ("parsed", "not run"):
        assert len(why) > 10
        return
    assert said in ("run", "")
    file, _, name = (why or RUN[block.page, block.language]).partition("::")
    source = (ROOT / file).read_text()
    assert f"def {name}(" in source
    assert f'{Path(block.page).name}"' in source


def test_no_test_stands_for_blocks_that_are_gone() -> None:
    unmarked = {(block.page, block.language) for block in BLOCKS if not block.mark}
    assert set(RUN) <= unmarked


def test_drawings_are_no_code() -> None:
    for block in BLOCKS:
        if not block.language:
            assert not re.search(r"^(\$ |import |from |labelmill |make )", block.text, re.M), block


@pytest.mark.parametrize("block", of(*SHELLS), ids=str)
def test_a_shell_can_read_it(block: Block) -> None:
    done = subprocess.run(
        ["bash", "-n"], input=block.text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", of(*SHELLS), ids=str)
def test_its_commands_are_those_that_there_are(block: Block) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = set(extras["optional-dependencies"])
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for words in commands(block):
        if ours := of_ours(words):
            parse(ours)
        elif words[0] == "make":
            assert words[1] in targets
        elif words[0] == "celery":
            assert importlib.import_module(words[2])
            assert words[3] in celery_command.commands
        elif Path(words[0]).name == "python" and words[1] == "-m":
            assert find_spec(words[2])
        elif words[:2] == ["pip", "install"]:
            for named in re.findall(r"labelmill\[([\w,]+)\]", " ".join(words)):
                assert set(named.split(",")) <= extras


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        ("submit topics --no-such", "No such option"),
        ("results --limit x", "valid integer"),
        ("token make", "make"),
        ("no-such", "no-such"),
    ],
)
def test_the_parser_refuses_what_there_is_not(line: str, refusal: str) -> None:
    with pytest.raises(Exception, match=refusal):
        parse(shlex.split(line))


def test_most_of_our_commands_are_shown_somewhere() -> None:
    shown = {
        ours[0] for block in of(*SHELLS) for words in commands(block) if (ours := of_ours(words))
    }
    assert set(COMMANDS) - shown <= {"cancel", "dead", "db", "demo", "health", "reconcile"}


@pytest.mark.parametrize("block", of("python"), ids=str)
def test_python_has_the_names_that_it_imports(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module != "support.models":
            module = importlib.import_module(node.module)
            for each in node.names:
                submodule = f"{node.module}.{each.name}"
                assert hasattr(module, each.name) or find_spec(submodule), submodule
        elif isinstance(node, ast.Import):
            for each in node.names:
                importlib.import_module(each.name)


@pytest.mark.parametrize("block", of("toml"), ids=str)
def test_a_models_file_can_be_read(block: Block, tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(block.text)
    assert list(Catalog.load(tmp_path / "models.toml"))


@pytest.mark.parametrize("block", of("yaml"), ids=str)
def test_an_override_names_services_that_there_are(block: Block) -> None:
    composed = YAML(typ="safe").load(ROOT / "docker-compose.yml")
    override = YAML(typ="safe").load(block.text)
    assert set(override) == {"services"}
    for name, service in override["services"].items():
        assert set(service) <= set(composed["services"][name])


@pytest.mark.parametrize("block", of("json"), ids=str)
def test_an_example_has_the_fields_of_the_code(block: Block) -> None:
    [job] = json.loads(block.text)["data"]["jobs"]
    assert list(job) == list(JobFinished.__annotations__)
