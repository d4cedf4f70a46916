"""The pictures of the page in the documentation, of the demo's models and data.

    python -m tests.screenshots

It runs a Labelmill of its own for about half a minute, and writes docs/how-to/page-*.webp.
"""

from __future__ import annotations

import csv
import io
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page, expect, sync_playwright

from labelmill.client import Client, NewJob
from labelmill.demo import held_out
from labelmill.local.stack import Stack

_ROOT = Path(__file__).parents[1]
_DATA = held_out.DATA
_PICTURES = _ROOT / "docs" / "how-to"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_MOST_BYTES = 150_000


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="labelmill-screenshots-") as name:
        folder = Path(name)
        url = f"sqlite:///{folder / 'labelmill.db'}"
        stack = Stack(
            folder,
            database_url=url,
            models_file=held_out.MODELS_FILE,
            image_root=_DATA,
            appendonly=False,
            gateway=socket.create_server(("127.0.0.1", 0)),
        )
        with stack, Client(stack.settings["LABELMILL_BROKER_URL"], url) as client:
            client.submit_many("topics", _mail())
            _take_all(f"{stack.gateway_url}/", folder)


def _take_all(url: str, folder: Path) -> None:
    with _page(url, "light") as page:
        _submit(page, folder)
        _save(page, "label")
        page.goto(f"{url}#/results?model=topics")
        expect(page.locator("tr[data-id]")).to_have_count(50)
        _save(page, "results")
        page.set_viewport_size({"width": 390, "height": 780})
        page.goto(f"{url}#/results?label=billing&job=topic-heldout-001")
        expect(page.locator("dialog .scores")).to_be_visible()
        _save(page, "phone")
    with _page(url, "dark") as page:
        page.goto(f"{url}#/health")
        expect(page.locator(".health table").first).to_be_visible()
        _save(page, "health")


@contextmanager
def _page(url: str, scheme: str) -> Iterator[Page]:
    program = next(filter(None, map(shutil.which, _BROWSERS)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", "--no-first-run"]
        )
        page = browser.new_page(viewport={"width": 1100, "height": 900}, color_scheme=scheme)
        page.goto(url)
        page.locator("#model option").first.wait_for(state="attached")
        yield page
        browser.close()


def _submit(page: Page, folder: Path) -> None:
    letter = folder / "letters.txt"
    letter.write_text("\n".join(str(each.text) for each in _mail()[40:43]))
    damaged = folder / "damaged.png"
    damaged.write_bytes((_DATA / "digits" / "digit-0009.png").read_bytes()[:90])
    digits = [_DATA / "digits" / f"digit-000{number}.png" for number in (1, 2, 4, 5)]
    page.get_by_label("Text", exact=True).fill("The parcel never came, and nobody answers.")
    page.get_by_role("button", name="Label it").click()
    _arrived(page.locator(".batch").first, 1)
    page.locator("#files").set_input_files([letter])
    _arrived(page.locator(".batch").first, 3)
    page.locator("#files").set_input_files([*digits, damaged])
    _arrived(page.locator(".batch").first, 5)
    page.get_by_role("heading", level=1).click()


def _arrived(batch: Locator, number: int) -> None:
    expect(batch.locator("li.arrived")).to_have_count(number)


def _save(page: Page, name: str) -> None:
    page.wait_for_load_state("networkidle")
    page.evaluate("Promise.all(document.getAnimations().map((each) => each.finished))")
    picture = _PICTURES / f"page-{name}.webp"
    Image.open(io.BytesIO(page.screenshot())).save(picture, quality=85, method=6)
    size = picture.stat().st_size
    assert size < _MOST_BYTES, f"{picture} has {size:,} bytes"


def _mail() -> list[NewJob]:
    with (_DATA / "topics_heldout.csv").open(encoding="utf-8", newline="") as file:
        return [NewJob(id=row["id"], text=row["text"]) for row in csv.DictReader(file)]


if __name__ == "__main__":
    main()
