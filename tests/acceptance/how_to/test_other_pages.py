"""The commands and the Python of other pages, carried out in one folder beside the user's."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from pathlib import Path

import pyarrow
import pytest

from tests.acceptance.how_to.conftest import ROOT, Project, blocks
from tests.acceptance.installation import neighbours
from tests.acceptance.installation.built import Installation
from tests.acceptance.installation.terminal import Terminal

TEXTS = {"Where is my parcel?": "delivery", "My card was charged twice.": "billing"}

# What the blocks of enqueue.md take for granted.
BEFORE = """\
import json
import os
from pathlib import Path
from celery import Celery
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from labelmill.core.settings import DatabaseSettings
from labelmill.db.connection import create_database_engine

class Base(DeclarativeBase): pass

class Ticket(Base):
    __tablename__ = "tickets"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]

engine = create_database_engine(DatabaseSettings().database_url)
Base.metadata.create_all(engine)
celery_app = Celery(broker=os.environ["LABELMILL_BROKER_URL"])
image_bytes = next(Path("scans").iterdir()).read_bytes()
text, lines = "Where is my parcel?", ["one", "two"]
"""


@pytest.fixture(scope="module")
def desk(up: Path, installation: Installation, names: set[str]) -> Project:
    """A folder under that of ``labelmill up``, with the files that the pages name."""
    folder = up / "desk"
    folder.mkdir()
    neighbours.files(folder, names)
    (folder / ".labelmill").mkdir()
    shutil.copy(up / ".labelmill" / "env", folder / ".labelmill" / "env")
    shutil.copy(up / "models.toml", folder)
    shutil.copytree(up / "models", folder / "models")
    images = sorted((up / "samples" / "digits").iterdir())
    (folder / "scans").mkdir()
    for image in images[:3]:
        shutil.copy(image, folder / "scans")
    (up / "2026" / "11").mkdir(parents=True)
    shutil.copy(images[0], up / "2026" / "11" / "scan.png")
    shutil.copy(images[0], folder / "scan.png")
    rows = [f"t{number},{text},{label}\n" for number, (text, label) in enumerate(TEXTS.items())]
    (folder / "messages.csv").write_text("".join(["ticket,body,category\n", *rows]))
    shutil.copy(folder / "messages.csv", folder / "checked.csv")
    (folder / "messages.jsonl").write_text("".join(f'{{"text": "{text}"}}\n' for text in TEXTS))
    (folder / "days").mkdir()
    for number, text in enumerate(TEXTS):
        data = json.dumps({"data": {"id": f"d{number}", "text": text}})
        (folder / "days" / f"{number}.jsonl.gz").write_bytes(gzip.compress(data.encode()))
    with pyarrow.output_stream(folder / "log.txt.zst", compression="zstd") as file:
        file.write("\n".join(TEXTS).encode())
    return Project(Terminal(installation.programs, folder))


def lines(page: str) -> list[str]:
    """The commands of ours in a page that need neither a network nor an end."""
    every = "".join(blocks(page)).splitlines()
    left_out = re.compile("s3://|labelmill (serve|token)")
    return [line for line in every if " labelmill " in f" {line}" and not left_out.search(line)]


def test_enqueue_from_python(desk: Project) -> None:
    client, session, connection, dbapi, celery, many = blocks("enqueue.md", "python")
    assert "psycopg" in dbapi  # that one needs a PostgreSQL
    script = [
        *(BEFORE, client, session, connection),
        *('job_id = "by-name"', celery, "print(client.wait(job_id, timeout=30).label)"),
        many,
    ]
    (desk.folder / "enqueue_all.py").write_text("\n".join(script))
    said = desk.shell("set -a; source .labelmill/env; set +a; python enqueue_all.py").splitlines()
    assert said[0].startswith("succeeded ")
    assert said[1] == "delivery"
    assert said[2].endswith(" 2 [] []")


def test_label_in_bulk_and_read_the_results(desk: Project) -> None:
    *submit, table, every, failed = lines("enqueue.md")
    *sources, piped, images, resume, newest, named = lines("bulk.md")
    export, others, searched, report, evaluate, checked = lines("results.md")
    # The run that the page calls RUN is called so here.
    begun = [*submit, named, f"{named.partition('#')[0]} --wait", *sources, images, resume, newest]
    read = [table, every, export, others, report, evaluate, checked]
    said = dict(zip([*begun, *read], desk.terminal.labelmill(*begun, *read), strict=True))
    for line in submit[0], begun[4], sources[0]:
        assert "2 succeeded, 0 failed" in said[line]
    assert "0 submitted, 2 submitted before" in said[resume]
    assert "accuracy 1.0000 of 2 rows" in said[evaluate]
    assert json.loads(said[checked])["metrics"]["accuracy"] == 1
    assert {"delivery", "billing"} <= {json.loads(row)["label"] for row in said[every].splitlines()}
    assert all((desk.folder / name).exists() for name in ("labels.parquet", "report.html"))

    desk.shell(failed)
    assert (desk.folder / "failed.csv").read_text().count("\n") == 1
    if shutil.which("zstdcat"):
        desk.shell(piped)
    if shutil.which("jq"):
        desk.shell(searched)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_ask_the_gateway(desk: Project, up: Path) -> None:
    [address] = set(re.findall(r"http://127\.0\.0\.1:\d+", (up / "up.log").read_text()))
    one, wait, *others = (
        block.replace("curl -s ", "curl -sS --fail ") for block in blocks("gateway.md", "sh")
    )
    begin = f"export GATEWAY={address}\n"
    job = json.loads(desk.shell(begin + one))["url"]
    assert json.loads(desk.shell(f"{begin}JOB={job}\n{wait}"))["result"]["label"] == "delivery"
    assert '"id":"ticket-17"' in desk.shell("\n".join([begin, *others]))


def test_measure_a_model(desk: Project) -> None:
    _, images = lines("benchmark.md")
    assert "suggested group_size" in desk.terminal.labelmill(images)[0]
    assert (desk.folder / "digits.png").exists()


def test_the_readme_and_the_first_page(desk: Project, up: Path) -> None:
    [first] = blocks("index.md", "python", ROOT / "docs")
    client, celery = blocks("README.md", "python", ROOT)
    script = [BEFORE, first, client, 'job_id = "of-the-readme"', celery]
    said = "print(client.wait(job_id, timeout=30).label)"
    (desk.folder / "readme.py").write_text("\n".join([*script, said]))
    sourced = "set -a; source .labelmill/env; set +a; python readme.py"
    assert desk.shell(sourced).strip() == "delivery"

    *_, asked, bulk, _ = blocks("README.md", folder=ROOT)
    if shutil.which("curl"):
        [address] = set(re.findall(r"http://127\.0\.0\.1:\d+", (up / "up.log").read_text()))
        asked = asked.replace("http://127.0.0.1:8765", address).replace("curl ", "curl -sS --fail ")
        assert json.loads(desk.shell(asked))["state"] == "queued"

    submit, *others = bulk.splitlines()
    # The run that the page calls RUN is called so here.
    named = f"{submit.partition('#')[0]} --run of-readme"
    others = [line.replace("RUN", "of-readme") for line in others]
    answers = desk.terminal.labelmill(submit, named, *others)
    assert "2 succeeded, 0 failed" in answers[0]
    assert "0 submitted, 2 submitted before" in answers[2]
    assert "accuracy 1.0000 of 2 rows" in answers[-1]


def test_the_quickstart(up: Path, installation: Installation) -> None:
    *_, submitting = blocks("quickstart.md", folder=ROOT / "docs")
    commands = submitting.splitlines()
    one, table, images, *_ = Terminal(installation.programs, up).labelmill(*commands)
    assert "delivery" in one
    assert " 0 failed" in table
    assert " 0 failed" in images
    assert (up / "results.csv").read_text().count("\n") > 100
