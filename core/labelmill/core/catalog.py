"""The catalog: the models of ``models.toml``, one queue each.

.. code-block:: toml

    [models.tickets]                       # the queue is called "tickets"
    task = "text-classification"
    checkpoint = "distilbert/distilbert-base-uncased-finetuned-sst-2-english"
    revision = "714eb0fa89d2f80546fda750413ed43d93601a13"
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from labelmill.core.errors import ConfigurationError
from labelmill.core.job import MAX_TOP_K
from labelmill.core.tasks import Task

#: The queue of ordinary Celery tasks; no model may be called so.
MAINTENANCE_QUEUE = "labelmill.maintenance"
#: Nor so: the Celery side of older workers reads it.
OLD_MAINTENANCE_QUEUE = "maintenance"

MAX_GROUP_SIZE = 4096

_COMMIT = re.compile(r"[0-9a-f]{40}")
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # of a name that is too long, for one
        return False


class ModelSpec(BaseModel):
    """One model: its task, its checkpoint and its limits."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    task: Task
    checkpoint: str = Field(description="A hub id, or a folder relative to models.toml.")
    revision: str | None = Field(
        None, description="The commit of a hub checkpoint, 40 hexadecimal digits; required there."
    )
    engine: str | None = Field(
        None,
        pattern=r"^[\w.]+:\w+$",
        description="Your own engine class as module:Class; by default the task's own.",
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, …")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto", description="auto is bfloat16 (else float16) on CUDA and float32 elsewhere."
    )
    compile: bool = Field(
        False,
        description="Run the model through torch.compile; loading then takes minutes.",
    )
    top_k: Annotated[int, Field(ge=1, le=MAX_TOP_K)] = Field(
        5, description="How many labels a row keeps, unless the job says otherwise."
    )
    group_size: Annotated[int, Field(ge=1, le=MAX_GROUP_SIZE)] | None = Field(
        None,
        description="The most jobs in one group; by default 128, and on CUDA as many as fill a "
        "pass.",
    )
    token_budget: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="The most tokens, padding included, in one forward pass (texts); "
        "by default measured when the model is first loaded on a kind of device.",
    )
    exact: bool = Field(
        False, description="Take the checkpoint's own image processor, slower (images)."
    )

    _folder: Path | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _locate(self, info: ValidationInfo) -> Self:
        folder = Path((info.context or {}).get("folder", ".")) / self.checkpoint
        if _is_folder(folder):
            self._folder = folder
        elif self.engine is None and not _COMMIT.fullmatch(self.revision or ""):
            raise ValueError(
                f"checkpoint {self.checkpoint!r} is no folder here, so it is taken for a hub id: "
                "pin it with revision = the 40 hexadecimal digits of a commit"
            )
        return self

    @property
    def folder(self) -> Path | None:
        """The checkpoint's folder on this machine; None for one that a hub has."""
        return self._folder


class Catalog(Mapping[str, ModelSpec]):
    """The models by alias; an alias is a model's queue."""

    def __init__(self, models: Mapping[str, ModelSpec]) -> None:
        self._models = dict(models)

    def __getitem__(self, alias: str) -> ModelSpec:
        return self._models[alias]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read ``models.toml``; folders in it are relative to it.

        Raises:
            ConfigurationError: the file is missing, or something in it cannot be used.
        """
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigurationError(
                f"there is no {path}; write one (labelmill init), or set LABELMILL_MODELS_FILE"
            ) from None
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{path} cannot be read: {error}") from error
        tables = content.get("models")
        if not isinstance(tables, dict) or not tables:
            raise ConfigurationError(f"{path} names no model; add a table such as [models.tickets]")
        return cls(
            {alias: _spec(alias, table, path) for alias, table in tables.items()},
        )

    def select(self, aliases: Iterable[str]) -> Self:
        """The catalog of these aliases alone.

        Raises:
            ConfigurationError: one of them is not in the catalog.
        """
        chosen = list(aliases)
        unknown = sorted(set(chosen) - set(self._models))
        if unknown:
            raise ConfigurationError(
                f"no model {', '.join(map(repr, unknown))} in models.toml; "
                f"it has {', '.join(map(repr, self._models))}"
            )
        return type(self)({alias: self._models[alias] for alias in chosen})


def _spec(alias: str, table: object, path: Path) -> ModelSpec:
    if not _ALIAS.fullmatch(alias) or alias in (MAINTENANCE_QUEUE, OLD_MAINTENANCE_QUEUE):
        raise ConfigurationError(
            f"{path}: {alias!r} cannot name a queue; use up to 64 letters, digits, '_', '-', '.', "
            f"not {MAINTENANCE_QUEUE!r} or {OLD_MAINTENANCE_QUEUE!r}"
        )
    if not isinstance(table, dict):
        raise ConfigurationError(f"{path}: models.{alias} is not a table")
    try:
        return ModelSpec.model_validate(table, context={"folder": path.parent})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}".removeprefix(": ")
            for problem in error.errors(include_url=False, include_input=False)
        )
        raise ConfigurationError(f"{path}: models.{alias}: {problems}") from None
