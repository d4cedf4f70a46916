"""Browsing what came out: filters in the address, histograms that set them, pages, details."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.page.actions import drop, lines, newest, open_run
from tests.acceptance.page.conftest import Site

# The model is called scripted: it labels a text with itself.
LABELLED = [*["apple"] * 60, *["pear"] * 3, "plum"]


@pytest.fixture
def results(page: Page, site: Site) -> Page:
    """The results of a run of a few labels."""
    site.serve_scripted()
    page.get_by_label("Model").select_option("scripted")
    drop(page, [lines("fruit.txt", *LABELLED)])
    batch = newest(page)
    expect(batch.locator(".state")).to_have_text("64 labelled.")
    open_run(batch)
    page.get_by_role("link", name="All results of this run").click()
    expect(page.locator(".total")).to_have_text("64 results: 64 succeeded, 0 failed")
    return page


def test_the_histogram_of_labels_filters(results: Page) -> None:
    rows = results.locator("tr[data-id]")
    pear = results.locator(".labels").get_by_role("link", name="pear 3")
    pear.click()
    expect(rows).to_have_count(3)
    expect(rows.locator(".label")).to_have_text(["pear"] * 3)
    expect(results).to_have_url(re.compile("label=pear"))
    # It still shows what else there is; a second click takes the filter off again.
    expect(results.locator(".labels a")).to_have_count(3)
    expect(pear).to_have_attribute("aria-current", "true")
    pear.click()
    expect(rows).to_have_count(50)
    results.go_back()
    expect(rows).to_have_count(3)


def test_a_look_that_finds_nothing_new_leaves_the_focus(results: Page) -> None:
    """Else a click in progress would be lost, too."""
    pear = results.locator(".labels").get_by_role("link", name="pear 3")
    pear.focus()
    for _ in range(2):  # the second look begins after the first has drawn what it found
        with results.expect_response(re.compile("/v1/results/summary")):
            pass
    expect(pear).to_be_focused()


def test_search_is_found_in_the_address(results: Page) -> None:
    rows = results.locator("tr[data-id]")
    results.get_by_label("Search text").fill("PLUM")
    expect(rows).to_have_count(1)
    results.reload()
    expect(results.get_by_label("Search text")).to_have_value("PLUM")
    expect(rows).to_have_count(1)
    results.get_by_label("Search text").fill("no such fruit")
    expect(results.locator("tr.empty")).to_contain_text("No result fits these filters.")


def test_older_results_come_page_by_page(results: Page) -> None:
    rows = results.locator("tr[data-id]")
    expect(rows).to_have_count(50)
    results.get_by_role("button", name="Show older").click()
    expect(rows).to_have_count(64)
    expect(results.get_by_role("button", name="Show older")).not_to_be_visible()


def test_the_histogram_of_scores_filters(results: Page) -> None:
    results.get_by_role("link", name=re.compile("^Score 0.95 to 1.00: 64")).click()
    expect(results.locator(".total")).to_have_text("64 results: 64 succeeded, 0 failed")
    expect(results.get_by_label("Score from")).to_have_value("0.95")
    expect(results).to_have_url(re.compile("min_score=0.95&max_score=1"))


def test_new_results_are_offered_not_pushed_in(results: Page, site: Site) -> None:
    run = re.search(r"run=([^&]*)", results.url)
    assert run
    first = results.locator("tr[data-id]").first.get_attribute("data-id")
    with site.workers.client() as client:
        client.submit_text("scripted", "cherry", run=run[1])
    offer = results.get_by_role("button", name="Show 1 new result")
    expect(offer).to_be_visible()
    assert results.locator("tr[data-id]").first.get_attribute("data-id") == first
    offer.click()
    expect(results.locator("tr[data-id] .label").first).to_have_text("cherry")


def test_rows_are_walked_by_arrow_keys_and_opened(results: Page) -> None:
    links = results.locator("tr[data-id] .what a")
    links.first.focus()
    results.keyboard.press("ArrowDown")
    expect(links.nth(1)).to_be_focused()
    results.keyboard.press("Enter")
    dialog = results.get_by_role("dialog")
    expect(dialog.locator(".scores tbody tr")).to_have_count(1)
    expect(dialog.locator(".facts")).to_contain_text("scripted")
    results.reload()  # a link to a job is a link
    expect(dialog.locator(".scores tbody tr")).to_have_count(1)
