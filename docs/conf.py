"""The docs site: the pages that GitHub shows, and a Python reference made of docstrings.

The pages are plain Markdown. What a site needs beyond that, its tree of pages and links that leave
the folder, is added here, while a page is read.
"""

from __future__ import annotations

import hashlib
import html
import os
import posixpath
import re
import tomllib
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

DOCS = Path(__file__).parent
ROOT = DOCS.parent
DIAGRAMS = DOCS / "_site" / "diagrams"
REPOSITORY = "https://github.com/labelmill/labelmill"

project = "Labelmill"
author = "the Labelmill authors"
release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_site"]
myst_heading_anchors = 3
myst_fence_as_directive = ["mermaid"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 60
napoleon_numpy_docstring = False
napoleon_use_ivar = True
add_module_names = False

html_theme = "furo"
html_title = f"Labelmill {release}"
html_static_path = ["_site/static"]
html_css_files = ["site.css"]
html_favicon = "../producer/labelmill/gateway/page/icon.svg"
html_show_copyright = False
html_copy_source = False
html_theme_options = {
    "source_repository": REPOSITORY,
    "source_branch": "main",
    "source_directory": "docs/",
    "top_of_page_buttons": [],
}

#: Pages of the site that lie beside docs/.
OUTSIDE = {
    "changes": ROOT / "CHANGELOG.md",
    "contributing": ROOT / "CONTRIBUTING.md",
    "security": ROOT / "SECURITY.md",
}

#: The tree of pages, by the heading under which they stand.
TREE = {
    "Begin": ["quickstart", "glossary"],
    "How to": [
        *(f"how-to/{name}" for name in ("enqueue", "fastapi", "django", "flask", "celery", "test")),
        *(f"how-to/{name}" for name in ("bulk", "results", "gateway", "page", "webhooks")),
        *(f"how-to/{name}" for name in ("engine", "scale", "gpu", "deploy", "redis", "database")),
        "how-to/benchmark",
    ],
    "Why": [
        *(f"explanation/{name}" for name in ("architecture", "job", "promise", "faults")),
        *(f"explanation/{name}" for name in ("fetching", "images", "device", "speed")),
        "decisions/index",
    ],
    "Reference": [
        "reference/python",
        "api/index",
        *(f"reference/{name}" for name in ("cli", "http", "job", "announcements")),
        *(f"reference/{name}" for name in ("settings", "errors", "extras")),
    ],
    "The project": ["contributing", "security", "changes"],
}

_LINK = re.compile(r"(\]\(|^\[[^\]]+\]: )([^)\s#]+)", re.MULTILINE)
_TREE_OF_DECISIONS = "\n```{toctree}\n:hidden:\n:glob:\n\n0*\n```\n"


def complete(app: Sphinx, docname: str, source: list[str]) -> None:
    """Give a page the text, the tree and the links that it has on the site."""
    page = OUTSIDE.get(docname, DOCS / f"{docname}.md")
    if docname in OUTSIDE:
        app.env.note_dependency(str(page))
        source[0] = page.read_text()
    elif not page.is_file():  # it is not Markdown
        return
    source[0] = _LINK.sub(lambda link: link[1] + on_site(link[2], page, docname), source[0])
    if docname == "index":
        source[0] += "".join(
            f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{chr(10).join(pages)}\n```\n"
            for caption, pages in TREE.items()
        )
    if docname == "decisions/index":
        source[0] += _TREE_OF_DECISIONS


def on_site(link: str, page: Path, docname: str) -> str:
    """A link of a page as the site has it: to its own pages, or to the repository.

    One that leads nowhere is left as it is, and Sphinx refuses it.
    """
    target = Path(os.path.normpath(page.parent / link))
    if "://" in link or not target.exists() or not target.is_relative_to(ROOT):
        return link
    outside = {file: f"{name}.md" for name, file in OUTSIDE.items()}
    if target in outside or target.is_relative_to(DOCS):
        within = outside.get(target) or target.relative_to(DOCS).as_posix()
        return posixpath.relpath(within, posixpath.dirname(docname) or ".")
    kind = "tree" if target.is_dir() else "blob"
    return f"{REPOSITORY}/{kind}/main/{target.relative_to(ROOT).as_posix()}"


def drawing(source: str) -> Path:
    """The file in which a diagram is drawn; its name tells when the text has been changed."""
    return DIAGRAMS / f"{hashlib.sha256(source.encode()).hexdigest()[:16]}.svg"


class Mermaid(SphinxDirective):
    """A diagram that GitHub draws itself; here a drawing that was made of the same text."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The drawing.

        Raises:
            ExtensionError: it has not been made.
        """
        source = "\n".join(self.content)
        file = drawing(source)
        self.env.note_dependency(str(file))
        if not file.is_file():
            raise ExtensionError(
                f"{self.env.docname}: a diagram has not been drawn; run python docs/draw.py"
            )
        figure = (
            f'<div class="diagram" role="img" aria-label="A diagram; its text: '
            f'{html.escape(source, quote=True)}">{file.read_text()}</div>'
        )
        return [nodes.raw("", figure, format="html")]


def setup(app: Sphinx) -> None:
    """Have Sphinx call what is above."""
    app.add_directive("mermaid", Mermaid)
    app.connect("source-read", complete)
