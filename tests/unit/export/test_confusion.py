"""The confusion matrix as table and picture."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import PIL.Image
from rich.console import Console

from labelmill.cli.evaluate import confusion_table
from labelmill.export.canvas import Png, Svg
from labelmill.export.confusion import confusion, draw, size

PAIRS = {("cat", "cat"): 5, ("cat", "<dog> & co"): 2, ("<dog> & co", "<dog> & co"): 12_345}


def test_rows_are_truths_and_columns_are_labels() -> None:
    matrix = confusion(PAIRS)
    assert matrix.labels == ("<dog> & co", "cat")
    assert matrix.row("cat") == [2, 5]
    assert matrix.row("<dog> & co") == [12_345, 0]


def test_rare_labels_are_put_together() -> None:
    pairs = {(f"label {n:02}", f"label {n:02}"): 100 - n for n in range(40)}
    matrix = confusion(pairs)
    assert len(matrix.labels) == 31
    assert sum(map(sum, map(matrix.row, matrix.labels))) == sum(pairs.values())


def test_the_table_is_shown_where_it_fits() -> None:
    console = Console(width=60, file=io.StringIO())
    table = confusion_table(confusion(PAIRS), 60)
    assert table is not None
    console.print(table)
    assert "12,345" in console.file.getvalue()  # type: ignore[attr-defined]
    assert confusion_table(confusion(PAIRS), 30) is None


def test_the_svg_has_every_number_and_escapes_names() -> None:
    matrix = confusion(PAIRS)
    canvas = Svg(*size(matrix))
    draw(matrix, canvas, "run <r>\x00")
    root = ElementTree.fromstring(canvas.content())
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"run <r> ", "2  cat", "5", "2", "12k"} <= set(texts)
    assert any(text and "<dog> & co" in text for text in texts)


def test_the_png_is_an_image_of_twice_the_size_with_shaded_cells() -> None:
    matrix = confusion(PAIRS)
    width, height = size(matrix)
    canvas = Png(width, height)
    draw(matrix, canvas, "run r")
    image = PIL.Image.open(io.BytesIO(canvas.content()))
    assert image.size == (2 * width, 2 * height)
    assert image.getcolors(1 << 16)
    assert (34, 94, 168) in {color for _, color in image.getcolors(1 << 16) or []}


def test_a_matrix_of_nothing_can_be_drawn() -> None:
    canvas = Svg(*size(confusion({})))
    draw(confusion({}), canvas, "nothing")
    assert canvas.content()
