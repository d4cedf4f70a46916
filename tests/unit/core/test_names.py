"""Names of files, as people call them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelmill.core.job import Image
from labelmill.core.names import file_name, short_name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a.png", "a.png"),
        ("/scans/2026/a b.png", "a b.png"),
        ("C:\\scans\\a.png", "a.png"),
        ("../../etc/passwd", "passwd"),
        ("u\u0308.png", "ü.png"),
        ("", None),
        ("folder/", None),
        (" \n", None),
        ("n" * 300 + ".png", "n" * 251 + ".png"),
    ],
)
def test_a_file_is_called_by_the_last_part_of_its_path(path: str, name: str | None) -> None:
    assert file_name(path) == name


@given(st.text(st.characters(), max_size=600))
def test_a_short_name_is_a_name_of_an_image(path: str) -> None:
    name = short_name(path)
    assert name is None or Image(uri="a", name=name).name == name
