"""The fields of a record, of which columns are made."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints


class Field(NamedTuple):
    """One field: its type without arguments, the most characters, and whether it may be None."""

    name: str
    kind: type
    length: int | None
    optional: bool


def fields_of(record: type[Any]) -> Iterator[Field]:
    """The fields of a named tuple; a bounded string is ``Annotated[str, length]``."""
    for name, hint in get_type_hints(record, include_extras=True).items():
        kinds = [each for each in get_args(hint) if each is not NoneType]
        optional = NoneType in get_args(hint)
        [kind] = kinds if optional else [hint]
        length = None
        if get_origin(kind) is Annotated:
            kind, length = get_args(kind)
        yield Field(name, get_origin(kind) or kind, length, optional)
