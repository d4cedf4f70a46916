"""models.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from labelmill.core.catalog import Catalog
from labelmill.core.errors import ConfigurationError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def load(tmp_path: Path, text: str) -> Catalog:
    file = tmp_path / "models.toml"
    file.write_text(text)
    return Catalog.load(file)


def test_folders_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    catalog = load(tmp_path, '[models.a]\ntask = "text-classification"\ncheckpoint = "here"')
    assert catalog["a"].folder == tmp_path / "here"
    assert catalog["a"].checkpoint == "here"


def test_a_hub_checkpoint_is_pinned(tmp_path: Path) -> None:
    text = f'[models.a]\ntask = "text-classification"\ncheckpoint = "org/x"\nrevision = "{COMMIT}"'
    spec = load(tmp_path, text)["a"]
    assert (spec.folder, spec.revision) == (None, COMMIT)


@pytest.mark.parametrize("revision", ["", 'revision = "main"', 'revision = "0123456"'])
def test_an_unpinned_hub_checkpoint_is_refused(tmp_path: Path, revision: str) -> None:
    text = f'[models.a]\ntask = "text-classification"\ncheckpoint = "org/x"\n{revision}'
    with pytest.raises(ConfigurationError, match="pin it with revision"):
        load(tmp_path, text)


@pytest.mark.parametrize("checkpoint", ["rules", "rules[2]", "x" * 300])
def test_what_an_engine_of_yours_runs_is_its_own_affair(tmp_path: Path, checkpoint: str) -> None:
    spec = load(
        tmp_path,
        f'[models.a]\ntask = "text-classification"\ncheckpoint = "{checkpoint}"\nengine = "a.b:C"',
    )["a"]
    assert (spec.folder, spec.revision, spec.checkpoint) == (None, None, checkpoint)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no model"),
        ("[models", "cannot be read"),
        ("[models.maintenance]", "cannot name a queue"),
        ('[models."labelmill.maintenance"]', "cannot name a queue"),
        ('[models."a b"]', "cannot name a queue"),
        ("models.a = 1", "is not a table"),
        ('[models.a]\ntask = "poetry"\ncheckpoint = "."', "task"),
        ('[models.a]\ntask = "text-classification"', "checkpoint"),
        ('[models.a]\ntask = "text-classification"\ncheckpoint = "."\nspeed = 1', "speed"),
        (
            '[models.a]\ntask = "text-classification"\ncheckpoint = "."\ngroup_size = 5000',
            "group_size",
        ),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="LABELMILL_MODELS_FILE"):
        Catalog.load(tmp_path / "models.toml")


def test_unknown_models_cannot_be_selected(tmp_path: Path) -> None:
    catalog = load(tmp_path, '[models.a]\ntask = "text-classification"\ncheckpoint = "."')
    with pytest.raises(ConfigurationError, match=r"no model 'b'.*it has 'a'"):
        catalog.select(["b"])


def test_the_shipped_catalog_can_be_read() -> None:
    catalog = Catalog.load(Path(__file__).parents[3] / "models.toml")
    assert list(catalog) == ["topics", "digits", "sentiment", "imagenet"]
    assert catalog["topics"].folder is not None
