"""The page tells the truth while workers are down, Redis is away, or the gateway itself is."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.acceptance.page.actions import drop, lines, newest, open_run, type_text
from tests.acceptance.page.conftest import Complaints, Site, serving
from tests.support.waiting import wait_for

UNSERVED = "No worker serves scripted: it waits until one starts."


def test_without_a_worker_it_says_so_and_what_waits_arrives_later(page: Page, site: Site) -> None:
    site.stop_scripted()
    type_text(page, "patience", model="scripted")
    batch = page.locator(".batch").filter(has_text="patience")
    notices = page.locator("#notices")
    expect(notices).to_contain_text("No worker serves scripted: 1 job waits until one starts")
    expect(batch.locator(".state")).to_have_text(UNSERVED)
    expect(page.locator("#model-state")).to_contain_text("no worker serves it now: jobs wait")
    drop(page, [lines("queue.txt", *(f"number {each}" for each in range(150)))])
    expect(notices).to_contain_text("No worker serves scripted: 151 jobs wait until one starts")
    open_run(newest(page))
    expect(page.locator(".state")).to_contain_text("150 jobs to go, none finished in the last min")
    expect(page.locator(".tiles")).to_contain_text("Time leftnot known")
    page.get_by_role("link", name="Health").click()
    row = page.get_by_role("row", name=re.compile("^scripted"))
    expect(row).to_contain_text("no worker")
    expect(row).to_contain_text("151")
    site.serve_scripted()
    expect(page.get_by_role("row", name=re.compile("^scripted 1 worker 0 –"))).to_be_visible()
    expect(notices).to_be_empty()
    page.get_by_role("link", name="Label", exact=True).click()
    expect(newest(page).locator(".state")).to_have_text("150 labelled.")
    expect(batch.locator(".outcome .label")).to_have_text("patience")


def test_a_job_that_ends_its_worker_is_a_dead_letter_and_replayed(
    page: Page, site: Site, tmp_path: Path
) -> None:
    worker = site.serve_scripted()
    text = f"kill-once {tmp_path / 'died'}"
    batch = type_text(page, text, model="scripted")
    wait_for(lambda: worker.process.poll() is not None)
    site.serve_scripted()
    expect(batch.locator(".tag")).to_have_text("poisoned")
    page.get_by_role("link", name="Health").click()
    expect(page.get_by_role("row", name=re.compile("^poisoned 1"))).to_contain_text("replay it")
    page.get_by_role("button", name="Replay").click()
    page.locator(".answer a").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".scores tbody th").first).to_have_text(text)
    expect(dialog.get_by_role("heading")).to_contain_text(":replay1")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Replay")).to_have_count(0)


def test_without_redis_it_says_so_and_recovers(
    page: Page, site: Site, complaints: Complaints
) -> None:
    complaints.allow("status of 503")
    site.redis.kill()
    notices = page.locator("#notices")
    expect(notices).to_contain_text("Redis is away since")
    batch = type_text(page, "Reset my password.")
    expect(batch.locator(".state")).to_contain_text("Not accepted yet: Redis does not answer")
    expect(batch.get_by_role("button", name="Stop sending")).to_be_visible()
    page.get_by_role("link", name="Health").click()
    expect(page.locator(".tiles")).to_contain_text("Redisaway")
    expect(page.locator(".tiles")).to_contain_text("Waiting–")
    site.redis.start()
    expect(notices).not_to_contain_text("Redis is away")
    page.get_by_role("link", name="Label", exact=True).click()
    expect(batch.locator(".outcome .label")).to_have_text("account", timeout=40_000)


def test_without_the_gateway_it_says_that_what_is_shown_is_old(
    page: Page, site: Site, complaints: Complaints
) -> None:
    complaints.allow("net::ERR_CONNECTION_REFUSED")
    with serving(site.workers) as url:
        page.goto(f"{url}#/health")
        expect(page.locator("#freshness")).to_contain_text("Updated")
        models = page.get_by_role("table", name="Models as they run")
        expect(models.get_by_role("row", name=re.compile("^topics"))).to_contain_text(
            re.compile(r"cpu\s*float32\s*packed\s*\d+ tokens\s*128")
        )
    expect(page.locator("#notices")).to_contain_text("The gateway has not answered since")
    expect(page.locator("#freshness")).to_have_class(re.compile("stale"))
