"""``python docs/draw.py MERMAID``: draws the diagrams of the docs, for the site.

GitHub draws a mermaid block itself. The site shows a drawing that was made beforehand, so that its
pages need no script and no network. MERMAID is ``mermaid.tiny.js`` of the npm package
``@mermaid-js/tiny``. Chromium is needed too.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parent))

from conf import DIAGRAMS, DOCS, drawing

_BLOCK = re.compile(r"^```mermaid\n(.*?)\n```", re.MULTILINE | re.DOTALL)
_DRAW = """async ([source, id]) => {
  mermaid.initialize({startOnLoad: false, theme: "neutral", htmlLabels: false});
  return (await mermaid.render(id, source)).svg;
}"""


def main(script: Path) -> None:
    """Draw all of them, and remove the drawings of texts that are gone."""
    sources = [text for page in DOCS.rglob("*.md") for text in _BLOCK.findall(page.read_text())]
    files = {drawing(source): source for source in sources}
    for file in DIAGRAMS.glob("*.svg"):
        if file not in files:
            file.unlink()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"),
            args=["--no-sandbox", "--disable-gpu"],
        )
        page = browser.new_page()
        page.add_script_tag(path=script)
        for file, source in files.items():
            file.write_text(page.evaluate(_DRAW, [source, f"diagram-{file.stem}"]) + "\n")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
