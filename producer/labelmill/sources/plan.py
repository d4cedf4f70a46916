"""Plans: what is submitted and how, complete enough to go on with it later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from labelmill.core.errors import ConfigurationError
from labelmill.core.json import JsonValue
from labelmill.sources.base import Format, Kind
from labelmill.sources.columns import ColumnMapping
from labelmill.sources.location import is_url, shown_url
from labelmill.sources.readers import STDIN, fingerprint

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One submission.

    Attributes:
        sources: paths, which are absolute, URLs, or ``-``.
        form: how to read them.
        chosen: their columns; None as long as nobody has looked.
        inline: whether images travel in the messages.
        upload: whether images are put into the upload store.
        top_k: how many labels to keep; None for the model's own number.
        fingerprints: of the sources, None where nothing can be known.
    """

    sources: tuple[str, ...]
    form: Format = field(default_factory=Format)
    chosen: ColumnMapping | None = None
    inline: bool = False
    upload: bool = False
    top_k: int | None = None
    fingerprints: tuple[str | None, ...] = ()

    @property
    def source(self) -> str:
        """The sources as people and the table ``runs`` know them, without secrets."""
        return ", ".join(shown(each) for each in self.sources)

    @property
    def secret(self) -> bool:
        """Whether an address has more in it than may be written down."""
        return any(shown(each) != each for each in self.sources)

    def with_fingerprints(self) -> Plan:
        """The same with how its sources are now.

        Raises:
            SourceError: one of them cannot be read.
        """
        return replace(
            self, fingerprints=tuple(fingerprint(each, self.form) for each in self.sources)
        )

    def changed_since(self, before: Plan) -> list[str]:
        """The sources that are not what they were; those of which nothing is known are none."""
        pairs = zip(self.sources, before.fingerprints, self.fingerprints, strict=False)
        return [shown(each) for each, then, now in pairs if then != now]

    def to_json(self) -> dict[str, JsonValue]:
        """What :meth:`from_json` reads."""
        content = asdict(self)
        content["sources"] = [shown(each) for each in self.sources]
        content["secret"] = self.secret
        content["fingerprints"] = list(self.fingerprints)
        return {"version": _VERSION, **content}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The plan that was written down.

        Raises:
            ConfigurationError: another version of Labelmill has written it.
        """
        if content.get("version") != _VERSION:
            raise ConfigurationError(
                "another version of Labelmill has begun this run; resume there"
            )
        chosen = content["chosen"]
        return cls(
            sources=tuple(content["sources"]),
            form=Format(**content["form"]),
            chosen=chosen and ColumnMapping(**{**chosen, "kind": Kind(chosen["kind"])}),
            inline=content["inline"],
            upload=content["upload"],
            top_k=content["top_k"],
            fingerprints=tuple(content["fingerprints"]),
        )


def absolute(source: str) -> str:
    """The name of a source that means the same in every folder."""
    return source if source == STDIN or is_url(source) else str(Path(source).absolute())


def shown(source: str) -> str:
    """A source without what is secret in its address."""
    return shown_url(source) if is_url(source) else source
