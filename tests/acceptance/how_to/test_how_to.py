"""The how-tos, carried out word for word: from an empty folder to a label in the page."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import httpx
import pytest

from labelmill.demo.held_out import DATA
from tests.acceptance.how_to.conftest import Follow, blocks
from tests.support.waiting import wait_for

PARCEL = "Where is my parcel? It was to arrive on Monday."
DIGIT = DATA / "digits" / "digit-0261.png"
LABEL = re.compile(r"<p>([\w ]+): ([\d.]+)(%?)</p>")


def label_on(browser: httpx.Client, page: httpx.Response) -> str:
    """What the page shows when it has stopped asking for itself."""
    assert page.status_code == 200, page.text
    shown = page.text

    def settled() -> bool:
        nonlocal shown
        if "waiting for its label" in shown:
            shown = browser.get(page.url).text
        return "waiting" not in shown

    wait_for(settled)
    found = LABEL.search(shown)
    assert found, shown
    assert 0.3 < float(found[2]) / (100 if found[3] else 1) <= 1
    return found[1]


def served(page: str) -> str:
    """The block of a page that starts its server."""
    [block] = [block for block in blocks(page) if re.search(r"\b8000\b", block)]
    return block


@pytest.mark.parametrize("page", ["fastapi.md", "flask.md"])
def test_from_a_form_to_a_label(page: str, follow: Follow, up: Path) -> None:
    project = follow(page)
    with project.serving(served(page)) as browser:
        assert '<form method="post" action="/messages">' in browser.get("/").text
        answer = browser.post("/messages", data={"text": PARCEL})
        assert label_on(browser, answer) == "delivery"
        with DIGIT.open("rb") as image:
            answer = browser.post("/images", files={"image": ("digit.png", image)})
        assert label_on(browser, answer).isdecimal()

        refused = browser.post("/messages", data={"text": "\0" * 300_000})
        assert (refused.status_code, refused.json()["code"]) == (422, "text_too_large")
    # The job and the app's own row are in one database, and of the refused one there is nothing.
    with sqlite3.connect(up / ".labelmill" / "labelmill.db") as database:
        texts = database.execute("SELECT text FROM messages JOIN jobs ON job_id = jobs.id")
        assert set(texts.fetchall()) == {(PARCEL,)}
        messages = database.execute("SELECT count(*) FROM messages JOIN jobs ON job_id = jobs.id")
        assert messages.fetchone() == database.execute("SELECT count(*) FROM messages").fetchone()
    database.close()


def test_from_a_django_form_to_a_label(follow: Follow) -> None:
    project = follow("django.md")
    with project.serving(served("django.md")) as browser:
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', browser.get("/").text)
        assert token
        form = {"text": PARCEL, "csrfmiddlewaretoken": token[1]}
        assert label_on(browser, browser.post("/messages/", data=form)) == "delivery"
        refused = browser.post("/messages/", data=form | {"text": ""})
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_job")


def test_from_a_celery_app_to_labels(follow: Follow) -> None:
    project = follow("celery.md")
    [block] = [block for block in blocks("celery.md") if "shop.py" in block]
    assert project.shell(block).splitlines() == ["delivery", "billing"]


def test_a_webhook_tells_an_app(follow: Follow) -> None:
    project = follow("webhooks.md")
    _, listen, deliver, submit = blocks("webhooks.md")
    secret, listen = listen.split("\n", 1)
    project.shell(f"{secret}\nprintenv LABELMILL_WEBHOOK_SECRET > secret")
    secret = "export LABELMILL_WEBHOOK_SECRET=$(cat secret)\n"
    with (
        project.serving(secret + listen) as browser,
        project.running(secret + deliver.replace("8000", str(browser.base_url.port))),
    ):
        wait_for(lambda: "delivering" in (project.folder / "server.log").read_text())
        job_id = project.shell(submit).strip()
        assert wait_for(lambda: browser.get("/").json().get(job_id)) == "delivery"
        assert browser.post("/finished", content=b"{}").status_code == 401


@pytest.mark.parametrize("page", ["fastapi.md", "flask.md", "django.md", "celery.md"])
def test_each_begins_alike(page: str) -> None:
    """So that what was tried for one holds for all."""
    first, *_ = blocks(page)
    made, installed, copied, started = first.splitlines()
    assert made == "python3 -m venv .venv && . .venv/bin/activate"
    assert installed.startswith("pip install 'labelmill[demo")
    assert copied == "labelmill init"
    assert started.startswith("labelmill up")
