"""What a visitor does on the page, and the files that are dropped on it."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from playwright.sync_api import Locator, Page, expect

from tests.support.images import encoded, picture

_DROP = """
(zone, files) => {
  const transfer = new DataTransfer();
  for (const { name, type, content } of files) {
    const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type }));
  }
  for (const kind of ["dragenter", "dragover", "drop"]) {
    const options = { dataTransfer: transfer, bubbles: true, cancelable: true };
    zone.dispatchEvent(new DragEvent(kind, options));
  }
}
"""


@dataclass(frozen=True)
class Dropped:
    """One file."""

    name: str
    type: str
    content: bytes


def photographs(number: int, first: int = 0) -> list[Dropped]:
    """Pictures that look like photographs, all different."""
    return [
        Dropped(f"photo-{seed}.jpg", "image/jpeg", encoded(picture(320, 240, seed=seed), "JPEG"))
        for seed in range(first, first + number)
    ]


def lines(name: str, *texts: str, mark: bool = False) -> Dropped:
    """A text file of lines."""
    content = "\n".join(texts).encode("utf-8-sig" if mark else "utf-8")
    return Dropped(name, "text/plain", content)


def drop(page: Page, files: Sequence[Dropped]) -> None:
    """Drop files on the zone, with the events that a browser sends."""
    described = [
        {"name": each.name, "type": each.type, "content": base64.b64encode(each.content).decode()}
        for each in files
    ]
    page.locator(".zone").evaluate(_DROP, described)


def type_text(page: Page, text: str, model: str = "topics") -> Locator:
    """Type a text and submit it; returns its batch."""
    page.get_by_label("Model").select_option(model)
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_role("button", name="Label it").click()
    return newest(page)


def newest(page: Page) -> Locator:
    """The submission that was made last."""
    return page.locator(".batch").first


def open_run(batch: Locator) -> Locator:
    """Follow the batch's link to its run; returns the heading, which is shown.

    A click returns before the view has changed: what is looked for at once may be found, and twice,
    in the view that the link was in.
    """
    batch.get_by_role("link", name="open the run").click()
    heading = batch.page.get_by_role("heading", level=1, name=re.compile("^Run "))
    expect(heading).to_be_visible()
    return heading
