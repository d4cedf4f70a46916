"""The models that a gateway takes jobs for: those of models.toml, read again when it changes."""

from __future__ import annotations

import logging
from pathlib import Path

from labelmill.core.catalog import Catalog, ModelSpec
from labelmill.core.errors import ConfigurationError, ErrorCode, JobError
from labelmill.core.tasks import InputKind
from labelmill.gateway.problems import Problem

logger = logging.getLogger(__name__)


class Models:
    """The catalog at this moment.

    Parameters:
        path: of models.toml.

    Raises:
        ConfigurationError: it cannot be used. Later a file that cannot be used changes nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = self._changed_at()
        self._catalog = Catalog.load(path)

    def catalog(self) -> Catalog:
        """The models by name."""
        changed = self._changed_at()
        if changed != self._changed:
            self._changed = changed
            try:
                self._catalog = Catalog.load(self._path)
            except ConfigurationError as error:
                logger.warning("models stay as they were: %s", error)
        return self._catalog

    def require(self, name: str, kind: InputKind) -> ModelSpec:
        """The model of that name, for inputs of that kind.

        Raises:
            Problem: there is none.
            JobError: it takes the other kind.
        """
        catalog = self.catalog()
        spec = catalog.get(name)
        if spec is None:
            known = ", ".join(catalog)
            raise Problem(422, "unknown_model", f"there is no such model; there are: {known}")
        if spec.task.reads is not kind:
            raise JobError(
                ErrorCode.WRONG_INPUT_KIND, f"{name} is a model for {spec.task}; it takes no {kind}"
            )
        return spec

    def _changed_at(self) -> int | None:
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return None
