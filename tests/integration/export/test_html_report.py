"""The report is complete in itself, and shows what stands in jobs and never runs it."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import PIL.Image
import pytest
from playwright.sync_api import Browser, sync_playwright

from labelmill.core.errors import ErrorCode
from labelmill.core.job import SubmittedJob
from labelmill.core.json import JsonValue
from labelmill.core.result import Result
from labelmill.core.run import Run
from labelmill.core.states import Status
from labelmill.db.database import Database
from labelmill.db.filters import ResultFilter
from labelmill.export.html import write_html
from labelmill.export.pictures import Pictures
from labelmill.media.uploads import UploadStore
from tests.support import rows

NOW = datetime(2026, 5, 17, 12, tzinfo=UTC)
ATTACK = "</style><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"


def a_result(job_id: str, **changes: object) -> Result:
    usual = {"run_id": "r", "label": "praise", "scores": [], "finished_at": NOW}
    return rows.a_result(job_id, **usual | changes)


def a_job(job_id: str, payload: dict[str, JsonValue]) -> SubmittedJob:
    return rows.a_job(job_id, run_id="r", payload=payload)


def a_png(color: str) -> bytes:
    output = io.BytesIO()
    PIL.Image.new("RGB", (300, 200), color).save(output, "PNG")
    return output.getvalue()


class Page(HTMLParser):
    """What a report has in it."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.text = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), name
            if name in {"src", "href"}:
                self.sources.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def uploads(tmp_path: Path) -> UploadStore:
    return UploadStore.open(str(tmp_path / "uploads"))


def report(
    database: Database,
    uploads: UploadStore,
    most: int = 150,
    max_bytes: int = 10**6,
    folders: Sequence[Path] = (),
) -> str:
    output = io.StringIO()
    pictures = Pictures(uploads, most=most, max_bytes=max_bytes, folders=folders)
    write_html(database, ResultFilter(run_id="r"), pictures, output)
    return output.getvalue()


def test_counts_samples_and_failures_are_in_it(database: Database, uploads: UploadStore) -> None:
    database.runs.add(Run("r", model="topics", source="messages.csv", created_at=NOW))
    database.runs.count_submitted("r", 60)
    rows = [
        a_result(f"job-{n:02}", score=n / 50, finished_at=NOW + timedelta(seconds=n))
        for n in range(50)
    ]
    failures = [
        a_result(
            f"failed-{n}",
            status=Status.FAILED,
            label=None,
            score=None,
            scores=None,
            error_code="model_failed",
            error_message="the model raised",
        )
        for n in range(7)
    ]
    database.results.write([*rows, *failures, a_result("another run's", run_id="other")])
    database.jobs.add([a_job(f"job-{n:02}", {"text": f"text number {n}"}) for n in range(50)])

    page = Page(report(database, uploads))

    for expected in (
        "Run r",
        "57",
        "failed (12.3%)",
        "messages.csv",
        "org/topics at abc123 (50 jobs)",
        "57 of 60",
        "text number 49",
        "text number 0",
        "model_failed",
        ErrorCode.MODEL_FAILED.advice,
        "the model raised",
    ):
        assert expected in page.text, expected
    assert "another run" not in page.text


def test_nothing_of_what_jobs_say_becomes_markup(database: Database, uploads: UploadStore) -> None:
    database.runs.add(Run("r", model=ATTACK[:200], source=ATTACK, created_at=NOW))
    database.results.write(
        [
            a_result("a", label=ATTACK, checkpoint=ATTACK, revision=ATTACK),
            a_result(
                ATTACK,
                status=Status.FAILED,
                label=None,
                score=None,
                error_code=ATTACK,
                error_message=ATTACK,
            ),
        ]
    )
    database.jobs.add(
        [
            a_job("a", {"text": f"{ATTACK}\x00🙂\n=1+1{'x' * 100_000}"}),
            a_job(ATTACK, {"image": {"uri": ATTACK}}),
        ]
    )
    content = report(database, uploads)
    page = Page(content)
    assert "script" not in page.tags
    assert page.sources == []
    assert ATTACK in page.text
    assert len(content) < 40_000
    assert "default-src 'none'" in content


def test_thumbnails_come_from_uploads_messages_and_files_within_bounds(
    database: Database, uploads: UploadStore, tmp_path: Path
) -> None:
    file = tmp_path / "odd 'name' <b>.png"
    file.write_bytes(a_png("red"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link").symlink_to(file)
    payloads: list[JsonValue] = [
        {"uri": uploads.put(a_png("green"))},
        {"base64": base64.b64encode(a_png("blue")).decode()},
        {"uri": str(file)},
        {"uri": f"file://{file}"},
        {"uri": str(tmp_path)},
        {"uri": str(tmp_path / "elsewhere" / "link")},
        {"uri": "/dev/zero"},
        {"uri": "https://example.org/a.png"},
        {"uri": "upload:sha256/" + "0" * 64},
        {"base64": "bm8gaW1hZ2U="},
    ]
    database.results.write([a_result(f"{n}", label=f"label {n}") for n in range(len(payloads))])
    database.jobs.add([a_job(f"{n}", {"image": payload}) for n, payload in enumerate(payloads)])

    sources = Page(report(database, uploads, folders=[tmp_path])).sources
    assert len(sources) == 5
    assert all(source.startswith("data:image/webp;base64,") for source in sources)
    for elsewhere in ([], [tmp_path / "elsewhere"]):
        assert len(Page(report(database, uploads, folders=elsewhere)).sources) == 2
    assert len(Page(report(database, uploads, most=1)).sources) == 1
    assert Page(report(database, uploads, max_bytes=10)).sources == []


def test_a_report_of_nothing_says_so(database: Database, uploads: UploadStore) -> None:
    assert "Run r" in Page(report(database, uploads)).text


def test_an_uploaded_image_is_called_by_its_name(database: Database, uploads: UploadStore) -> None:
    uri = uploads.put(a_png("green"))
    database.results.write([a_result("a")])
    database.jobs.add([a_job("a", {"image": {"uri": uri, "name": "Größe 1.png"}})])
    page = Page(report(database, uploads))
    assert "Größe 1.png" in page.text
    assert uri not in page.text


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium here")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize(("scheme", "brightness"), [("light", (200, 256)), ("dark", (0, 60))])
def test_a_browser_shows_it_in_light_and_dark_and_runs_nothing(
    scheme: str,
    brightness: tuple[int, int],
    browser: Browser,
    migrated_sqlite: Path,
    uploads: UploadStore,
    tmp_path: Path,
) -> None:
    with Database.open(f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'a.db')}") as database:
        database.results.write([a_result("a", label=ATTACK), a_result("b")])
        image: JsonValue = {"base64": base64.b64encode(a_png("blue")).decode()}
        database.jobs.add([a_job("a", {"text": ATTACK}), a_job("b", {"image": image})])
        file = tmp_path / "report.html"
        file.write_text(report(database, uploads))
    page = browser.new_page(
        viewport={"width": 400, "height": 800},
        color_scheme="light" if scheme == "light" else "dark",
    )
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("request", lambda request: problems.append(request.url))
    page.goto(file.as_uri())
    assert page.title() == "Run r – Labelmill"
    assert [each for each in problems if not each.startswith(("file:", "data:"))] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert page.evaluate("document.images[0].naturalWidth") == 160
    shot = PIL.Image.open(io.BytesIO(page.screenshot())).convert("L")
    corner = shot.getpixel((2, 2))
    assert isinstance(corner, int)
    assert brightness[0] <= corner < brightness[1]
    page.close()
