"""A real browser before a real gateway, with a real worker on the demo's models behind it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from labelmill.db.schema import upgrade
from labelmill.demo.held_out import FOLDER
from labelmill.local.process import free_port
from labelmill.local.redis import RedisServer
from tests.support.waiting import wait_for
from tests.support.worker import WorkerProcess, Workers

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
_TIMEOUT_MS = 20_000

# The demo's two models, one that does as its texts say, and one that nobody serves.
_MODELS = f"""
[models.topics]
task = "text-classification"
checkpoint = "{FOLDER}/models/topics"
token_budget = 4096  # given, it need not be measured first

[models.digits]
task = "image-classification"
checkpoint = "{FOLDER}/models/digits"

[models.scripted]
task = "text-classification"
checkpoint = "."
engine = "tests.support.engines:ScriptedEngine"

[models.idle]
task = "text-classification"
checkpoint = "."
engine = "tests.support.engines:ScriptedEngine"
"""

# Reported before any script of the page runs.
_REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`);
});
"""


@dataclass
class Site:
    """A Labelmill with its gateway.

    Parameters:
        url: of the page.
        workers: starts more workers, and knows its settings.
        redis: its own, so that a test can kill it.
    """

    url: str
    workers: Workers
    redis: RedisServer
    scripted: WorkerProcess | None = None

    def serve_scripted(self) -> WorkerProcess:
        """See that a worker serves the model ``scripted``."""
        if self.scripted is None or self.scripted.process.poll() is not None:
            self.scripted = self.workers.start(*_worker("scripted"))
        return self.scripted

    def stop_scripted(self) -> None:
        """See that no worker serves it."""
        if self.scripted is not None and self.scripted.process.poll() is None:
            self.scripted.terminate()


@dataclass
class Complaints:
    """What the browser complained of; a test says which complaints it has provoked."""

    seen: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)

    def allow(self, part: str) -> None:
        """Expect complaints that contain this."""
        self.allowed.append(part)

    def unexpected(self) -> list[str]:
        """Those that nobody provoked."""
        return [each for each in self.seen if not any(part in each for part in self.allowed)]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The machine's Chromium."""
    program = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if program is None:
        pytest.skip("no Chromium here: apt install chromium, or install Google Chrome")
    expect.set_options(timeout=_TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Iterator[Site]:
    """The one that all tests of the page visit."""
    folder = tmp_path_factory.mktemp("site")
    database_url = f"sqlite:///{folder / 'labelmill.db'}"
    upgrade(database_url)
    with RedisServer(folder / "redis") as redis:
        workers = Workers(redis.url, database_url, folder)
        workers.configure(
            _MODELS,
            upload_store=str(folder / "uploads"),
            cache_dir=str(cache_dir),
            # A worker that dies is missed soon, and its job poisoned at once.
            lease_seconds="1",
            max_attempts="1",
        )
        workers.settings["OMP_NUM_THREADS"] = "1"
        try:
            main = workers.start(*_worker("topics,digits"), wait=False)
            with serving(workers) as url:
                workers.wait_ready(main)
                yield Site(url, workers, redis)
        finally:
            workers.stop()


@contextmanager
def serving(workers: Workers, **settings: str) -> Iterator[str]:
    """A gateway of these workers, as a process; yields its URL."""
    port = free_port()
    log = workers.folder / f"serve-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "labelmill", "serve", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=workers.folder,
            env=workers.environment() | settings,
        )
    url = f"http://127.0.0.1:{port}/"

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{url}healthz", timeout=5):
                return True
        except URLError:
            return False

    try:
        wait_for(answers)
        yield url
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    """Fails the test at its end if the browser complained of something."""
    complaints = Complaints()
    yield complaints
    assert complaints.unexpected() == []


@pytest.fixture
def context(browser: Browser, complaints: Complaints) -> Iterator[BrowserContext]:
    """A fresh profile."""
    with watched(browser, complaints) as context:
        yield context


@contextmanager
def watched(
    browser: Browser, complaints: Complaints, **options: object
) -> Iterator[BrowserContext]:
    """A fresh profile whose complaints are collected."""
    context = browser.new_context(viewport={"width": 1100, "height": 900}, **options)
    context.set_default_timeout(_TIMEOUT_MS)
    context.add_init_script(_REPORT_VIOLATIONS)

    def note(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            complaints.seen.append(f"{message.text} ({message.location.get('url')})")

    context.on("console", note)
    context.on("weberror", lambda error: complaints.seen.append(str(error.error)))
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, site: Site) -> Page:
    """The page, with the models known."""
    page = context.new_page()
    page.goto(site.url)
    page.locator("#model option").first.wait_for(state="attached")
    return page


def _worker(models: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "labelmill", "worker", "--name", "%n", "--models", models)
