"""What data may not do to the page."""

from __future__ import annotations

from urllib.parse import urlencode

from playwright.sync_api import Page, expect

from tests.acceptance.page.actions import (
    Dropped,
    drop,
    lines,
    newest,
    open_run,
    photographs,
    type_text,
)
from tests.acceptance.page.conftest import Site

EVIL = "<img src=x onerror=\"document.body.dataset.owned='yes'\"><script>alert(1)</script>"


def test_data_is_text_wherever_it_is_shown(page: Page, site: Site) -> None:
    site.serve_scripted()
    # The model labels a text with itself, so this is a text and a label at once.
    batch = type_text(page, EVIL, model="scripted")
    expect(batch.locator(".outcome .label")).to_have_text(EVIL)
    drop(page, [lines(f"{EVIL}.txt", EVIL, "harmless")])
    batch = newest(page)
    expect(batch.locator("li.arrived")).to_have_count(2)
    expect(open_run(batch)).to_contain_text(EVIL)
    expect(page.locator(".labels")).to_contain_text(EVIL)
    page.get_by_role("link", name="Runs").click()
    expect(page.locator("td.what").first).to_contain_text("<img src=x")
    page.get_by_role("link", name="Results").click()
    expect(page.locator("tr[data-id] .what").filter(has_text=EVIL)).to_have_count(2)
    page.goto(f"{site.url}#/results?{urlencode({'label': EVIL, 'q': EVIL})}")
    expect(page.locator("tr[data-id]")).to_have_count(2)
    page.locator("tr[data-id] .what a").first.click()
    expect(page.get_by_role("dialog").locator("blockquote")).to_have_text(EVIL)
    assert page.evaluate("document.body.dataset.owned") is None
    assert page.locator("main img[src=x], dialog img[src=x], main script").count() == 0


def test_names_of_files_and_models_are_text(page: Page) -> None:
    photograph = photographs(1, first=60)[0]
    drop(page, [Dropped(f"{EVIL}.jpg", photograph.type, photograph.content)])
    expect(newest(page).locator(".what")).to_have_text(f"{EVIL}.jpg")
    drop(page, [Dropped(EVIL, "application/x-evil", b"evil")])
    expect(page.locator(".answers")).to_contain_text(f"{EVIL} was left out")
    assert page.evaluate("document.body.dataset.owned") is None
