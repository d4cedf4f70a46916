"""How the page looks and reads: colours, widths, names of controls."""

from __future__ import annotations

import re
from importlib.resources import files
from itertools import product

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.acceptance.page.conftest import Complaints, Site, watched

SHEET = files("labelmill.gateway") / "page" / "style.css"
# The views, and what is there when they have been read.
VIEWS = {
    "": "#model option",
    "results": ".results tbody tr",
    "runs": ".runs tbody tr, .runs .empty",
    "health": ".health tbody tr",
}

UNNAMED = """
() => Array.from(document.querySelectorAll("input, select, textarea, button, a, dialog[open]"))
  .filter((control) => !control.hidden && !control.labels?.length && !control.textContent.trim()
    && !control.ariaLabel && !control.ariaLabelledByElements?.length)
  .map((control) => control.outerHTML)
"""

# What a wide table holds can be scrolled to.
WIDER = """
() => Array.from(document.querySelectorAll("body *"))
  .filter((each) => !each.closest(".scroller, .skip")
    && each.getBoundingClientRect().right > innerWidth + 1)
  .map((each) => each.outerHTML.slice(0, 200))
"""

# What is read on what; WCAG 2.2 asks for 4.5 where it is text, for 3 where it is an edge or a bar.
TEXTS = [
    *product(("ink", "soft", "accent", "good", "bad"), ("ground", "panel")),
    *product(("ink", "soft", "accent"), ("mark",)),
    ("ink", "bad-ground"),
    ("bad", "bad-ground"),
    ("ink", "warn-ground"),
    ("ink", "info-ground"),
    ("warn", "panel"),
    ("ink", "track"),
    ("on-accent", "accent"),
]
SHAPES = [("edge", "panel"), ("edge", "ground"), ("accent", "ground"), ("bar", "panel")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_contrast_enough(scheme: str) -> None:
    colours = _colours(scheme)
    for least, pairs in ((4.5, TEXTS), (3.0, SHAPES)):
        for front, back in pairs:
            ratio = _contrast(colours[front], colours[back])
            assert ratio >= least, f"{front} on {back}: {ratio:.2f}"


def test_dark_where_the_system_is_dark(
    browser: Browser, complaints: Complaints, site: Site
) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        with watched(browser, complaints, color_scheme=scheme) as context:
            page = context.new_page()
            page.goto(site.url)
            seen[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light, dark = (_luminance(_rgb(seen[scheme])) for scheme in ("light", "dark"))
    assert light > 0.8
    assert dark < 0.1


def test_nothing_is_wider_than_a_telephone(page: Page, site: Site) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    for view, read in VIEWS.items():
        page.goto(f"{site.url}#/{view}")
        page.locator(read).first.wait_for(state="attached")
        assert page.evaluate(WIDER) == [], view
        assert page.evaluate("document.documentElement.scrollWidth") == 360, view


def test_every_control_has_a_name(page: Page, site: Site) -> None:
    for view, read in VIEWS.items():
        page.goto(f"{site.url}#/{view}")
        page.locator(read).first.wait_for(state="attached")
        expect(page.locator("h1")).to_have_count(1)
        assert page.evaluate(UNNAMED) == []


def test_nothing_moves_where_that_is_not_wanted(
    browser: Browser, complaints: Complaints, site: Site
) -> None:
    with watched(browser, complaints, reduced_motion="reduce") as context:
        page = context.new_page()
        page.goto(site.url)
        page.get_by_label("Text", exact=True).fill("Still.")
        page.get_by_label("Model").select_option("topics")
        page.get_by_role("button", name="Label it").click()
        batch = page.locator(".batch").first
        assert batch.evaluate("batch => getComputedStyle(batch).animationName") == "none"


def test_the_page_is_small() -> None:
    sizes = {path.name: path.stat().st_size for path in SHEET.parent.iterdir() if path.is_file()}
    assert sum(sizes.values()) < 120_000, sizes


def _colours(scheme: str) -> dict[str, tuple[int, ...]]:
    blocks = re.findall(r":root \{(.*?)\}", SHEET.read_text(), re.DOTALL)
    light, dark = (dict(re.findall(r"--([\w-]+): #([0-9a-f]{6})", block)) for block in blocks)
    chosen = light | dark if scheme == "dark" else light
    return {
        name: tuple(int(digits[at : at + 2], 16) for at in (0, 2, 4))
        for name, digits in chosen.items()
    }


def _rgb(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def _luminance(colour: tuple[int, ...]) -> float:
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (each / 255 for each in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)
