"""A gateway that wants a token: the page asks for it, and keeps it for the tab."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import BrowserContext, expect

from tests.acceptance.page.actions import drop, newest, photographs
from tests.acceptance.page.conftest import Complaints, Site, serving


def test_it_asks_for_a_token_where_one_is_needed(
    context: BrowserContext, site: Site, complaints: Complaints, tmp_path: Path
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
