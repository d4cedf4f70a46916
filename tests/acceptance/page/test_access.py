"""Who may see the page's data, and what data may not do to the page."""

from __future__ import annotations

import re
import subprocess
import sys

from playwright.sync_api import BrowserContext, Page, expect

from tests.acceptance.page.actions import Dropped, drop, lines, newest, photographs, type_text
from tests.acceptance.page.conftest import Complaints, Site, serving

EVIL = "<img src=x onerror=\"document.body.dataset.owned='yes'\"><script>alert(1)</script>"


def test_data_is_text_wherever_it_is_shown(page: Page, site: Site) -> None:
    site.serve_scripted()
    # The model labels a text with itself, so this is a text and a label at once.
    batch = type_text(page, EVIL, model="scripted")
    expect(batch.locator(".outcome .label")).to_have_text(EVIL)
    drop(page, [lines(f"{EVIL}.txt", EVIL, "harmless")])
    batch = newest(page)
    expect(batch.locator("li.arrived")).to_have_count(2)
    batch.get_by_role("link", name="open the run").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(EVIL.replace("/", "/"))
    expect(page.locator(".labels")).to_contain_text(EVIL)
    page.get_by_role("link", name="Runs").click()
    expect(page.locator("td.what").first).to_contain_text("<img src=x")
    page.get_by_role("link", name="Results").click()
    expect(page.locator("tr[data-id] .what").filter(has_text=EVIL)).to_have_count(2)
    page.get_by_role("link", name=EVIL).first.click()
    page.goto(f"{site.url}#/results?label={EVIL.replace('#', '')}&q={EVIL}")
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


def test_it_asks_for_a_token_where_one_is_needed(
    context: BrowserContext, site: Site, complaints: Complaints, tmp_path: object
) -> None:
    complaints.allow("status of 401")
    settings = {"LABELMILL_DATABASE_URL": f"sqlite:///{tmp_path}/tokens.db"}
    _labelmill(site, settings, "db", "upgrade")
    made = _labelmill(site, settings, "token", "create", "page")
    secret = re.search(r"lm_\S+", made)
    assert secret, made
    with serving(site.workers, **settings) as url:
        page = context.new_page()
        page.goto(url)
        dialog = page.get_by_role("dialog", name="This gateway asks for a token")
        field = dialog.get_by_label("Token", exact=True)
        expect(field).to_be_focused()
        field.fill("lm_wrong")
        field.press("Enter")
        expect(dialog).to_contain_text("It did not accept the token of this tab")
        field.fill(secret[0])
        field.press("Enter")
        expect(dialog).not_to_be_visible()
        page.locator("#model option").first.wait_for(state="attached")
        # A picture comes with the token, too.
        page.get_by_label("Model").select_option("digits")
        drop(page, photographs(1, first=80))
        expect(newest(page).locator(".outcome")).to_have_text("queued")
        job = page.evaluate("fetch('v1/jobs', {method: 'POST'}).then((answer) => answer.status)")
        assert job == 401  # without it
        page.reload()  # the tab remembers it
        page.locator("#model option").first.wait_for(state="attached")
        expect(dialog).not_to_be_visible()


def _labelmill(site: Site, settings: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "labelmill", *arguments],
        env=site.workers.environment() | settings | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
