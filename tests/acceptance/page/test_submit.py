"""Submitting on the page: by typing, by dropping, by keyboard alone; and seeing what comes."""

from __future__ import annotations

import re

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
from tests.acceptance.page.conftest import Complaints
from tests.support.images import encoded, picture

PERCENT = re.compile(r"\d %")


def test_typed_text_gets_its_label(page: Page) -> None:
    batch = type_text(page, "My invoice was charged twice.")
    expect(batch.locator(".outcome .label")).to_have_text("billing")
    expect(batch.locator(".score .number")).to_have_text(PERCENT)
    # Said to those who do not see it, too.
    expect(page.locator("#announcer")).to_contain_text("My invoice was charged twice.: billing")


def test_five_dropped_images_arrive_with_thumbnails_as_one_run(page: Page) -> None:
    drop(page, photographs(5))
    batch = newest(page)
    expect(batch.locator("li")).to_have_count(5)
    expect(batch.locator("li.arrived .label")).to_have_count(5)
    assert _are_shown(batch.locator("img.thumbnail").all())
    # They went to a model that reads images though one for texts was chosen, and that is said.
    expect(page.locator(".answers")).to_contain_text("Went to digits, since topics reads texts.")
    expect(open_run(batch)).to_contain_text("Run images-")
    expect(page.locator(".state")).to_have_text("Done.")
    expect(page.locator(".tiles")).to_contain_text("Succeeded5")
    page.get_by_role("link", name="All results of this run").click()
    expect(page.locator("tr[data-id]")).to_have_count(5)
    assert _are_shown(page.locator("tr[data-id] img.thumbnail").all())
    page.get_by_label("Search text").fill("PHOTO-3")
    expect(page.locator("tr[data-id] .what a")).to_have_text(["photo-3.jpg"])
    page.get_by_role("link", name="photo-3.jpg").click()
    expect(page.get_by_role("dialog").locator(".input")).to_contain_text("photo-3.jpg")


def test_more_images_than_one_request_takes_are_one_run(page: Page) -> None:
    drop(page, photographs(11, first=20))
    batch = newest(page)
    expect(batch.locator("li.arrived .label")).to_have_count(11)
    open_run(batch)
    expect(page.locator(".tiles")).to_contain_text("Submitted11Succeeded11")


def test_each_line_of_a_dropped_text_file_is_a_job(page: Page) -> None:
    texts = ["Please cancel my subscription.", "  ", "", "The app crashes when I sign in."]
    drop(page, [lines("mail.txt", *texts, mark=True)])
    batch = newest(page)
    expect(batch.get_by_role("heading")).to_contain_text("2 lines to topics")
    expect(batch.locator("li .what")).to_have_text([texts[0], texts[3]])
    expect(batch.locator("li.arrived .label")).to_have_count(2)
    expect(batch.locator(".state")).to_have_text("2 labelled.")


def test_a_long_file_is_counted_not_listed(page: Page) -> None:
    drop(page, [lines("long.txt", *(f"Line {number}" for number in range(1200)))])
    batch = newest(page)
    expect(batch.locator("li")).to_have_count(100)
    expect(batch.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "1200")
    expect(batch.locator(".state")).to_have_text("1,200 labelled.")
    expect(batch.locator("li.arrived")).to_have_count(100)


def test_files_that_cannot_be_taken_are_named(page: Page) -> None:
    drop(
        page,
        [
            Dropped("table.csv", "text/csv", b"a,b\n"),
            Dropped("film.mp4", "video/mp4", b"film"),
            Dropped("latin.txt", "text/plain", "größer".encode("latin-1")),
            Dropped("blank.txt", "text/plain", b"\n \n"),
        ],
    )
    answers = page.locator(".answers")
    expect(answers).to_contain_text("table.csv was left out: a file with columns")
    expect(answers).to_contain_text("film.mp4 was left out: neither an image nor a text file")
    expect(answers).to_contain_text("latin.txt was left out: it is not UTF-8")
    expect(answers).to_contain_text("blank.txt was left out: it has no line with text in it")
    expect(page.locator(".batch")).to_have_count(0)


def test_an_image_that_the_gateway_refuses_does_not_stop_the_others(
    page: Page, complaints: Complaints
) -> None:
    complaints.allow("status of 415")
    fake = Dropped("fake.png", "image/png", b"no image at all")
    drop(page, [fake, *photographs(2)])
    batch = newest(page)
    expect(batch.locator("li.failed .message")).to_contain_text("is no image of a known format")
    expect(batch.locator("li.arrived:not(.failed)")).to_have_count(2)
    expect(batch.locator(".state")).to_have_text("2 labelled. 1 not accepted.")


def test_a_full_queue_is_waited_for(page: Page, complaints: Complaints) -> None:
    complaints.allow("status of 429")
    problem = {"detail": "100,000 jobs wait for topics.", "code": "queue_full"}
    page.route(
        "**/v1/jobs",
        lambda route: route.fulfill(status=429, headers={"Retry-After": "2"}, json=problem),
        times=1,
    )
    batch = type_text(page, "The invoice is wrong.")
    expect(batch.locator(".state")).to_have_text(
        "The gateway asks for patience: 100,000 jobs wait for topics. Trying again in 2 s."
    )
    expect(batch.locator(".outcome .label")).to_have_text("billing")


def test_a_job_that_fails_says_why_and_is_replayed(page: Page) -> None:
    damaged = encoded(picture(64, 64))[:200]  # it begins like a PNG file, and ends too soon
    drop(page, [Dropped("damaged.png", "image/png", damaged)])
    batch = newest(page)
    expect(batch.locator(".tag")).to_have_text("image_unreadable")
    batch.get_by_role("link", name="damaged.png").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Open the file yourself")
    before = page.url
    dialog.get_by_role("button", name="Replay").click()
    dialog.locator(".answer a").click()
    expect(page).not_to_have_url(before)
    expect(dialog.locator(".failure strong")).to_have_text("image_unreadable")
    page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()


def test_it_is_usable_by_keyboard_alone(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.locator("#skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Model")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.type("Where is my parcel?")
    page.keyboard.press("Control+Enter")
    batch = newest(page)
    link = batch.get_by_role("link", name="Where is my parcel?")
    expect(link).to_be_visible()
    expect(page.get_by_label("Text", exact=True)).to_be_focused()
    for _ in range(10):  # the button, the files, and whatever else is on the way
        page.keyboard.press("Tab")
        if link.evaluate("link => link === document.activeElement"):
            break
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Where is my parcel?")
    expect(dialog.get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()
    expect(link).to_be_focused()


def _are_shown(images: list) -> bool:
    """Whether pictures were really loaded."""
    loaded = "image => image.decode().then(() => image.naturalWidth > 0)"
    return bool(images) and all(image.evaluate(loaded) for image in images)
