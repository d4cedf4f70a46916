"""The command ``labelmill init``: a folder to begin in."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from labelmill.core.errors import ConfigurationError

_HEAD = """\
# The models, a queue each. Folders are relative to this file; a hub checkpoint is pinned by commit.
"""

_DEMO = """
# The two small models of the demo.
[models.topics]
task = "text-classification"
checkpoint = "models/topics"

[models.digits]
task = "image-classification"
checkpoint = "models/digits"
"""

_HUB = """\
[models.sentiment]
task = "text-classification"
checkpoint = "distilbert/distilbert-base-uncased-finetuned-sst-2-english"
revision = "714eb0fa89d2f80546fda750413ed43d93601a13"
"""


def init(
    folder: Annotated[
        Path, typer.Argument(help="Where; it is made if need be.", file_okay=False)
    ] = Path(),
) -> None:
    """Write a models.toml to begin with, and the demo's models and samples beside it.

    What is there already is left as it is. Without labelmill[demo] there is only the file.

    Example:

      labelmill init mill && cd mill && labelmill up --models topics,digits
    """
    models_file = folder / "models.toml"
    made = [models_file]
    has_demo = find_spec("labelmill.demo") is not None
    if has_demo:
        made += [folder / "models", folder / "samples"]
    for path in made:
        if path.exists():
            raise ConfigurationError(
                f"{path} is there already, and nothing was written; name a new folder:"
                " labelmill init FOLDER"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if has_demo:
            _copy_demo(*made[1:])
        models_file.write_text(_models(has_demo=has_demo))
    except OSError as error:
        for path in made[1:]:  # the file comes last
            shutil.rmtree(path, ignore_errors=True)
        why = error.strerror or error
        raise ConfigurationError(f"{folder} cannot be written: {why}") from error
    for path in made:
        typer.echo(f"wrote {path}{'/' * path.is_dir()}")
    if not has_demo:
        typer.echo("name your models in it; two small ones come with 'labelmill[demo]':")
        typer.echo("install that, and run labelmill init FOLDER")


def _models(*, has_demo: bool) -> str:
    # With models that are here, up is to start at once, and not to wait for a download.
    hub = "".join(f"# {line}" for line in _HUB.splitlines(keepends=True)) if has_demo else _HUB
    return f"{_HEAD}{_DEMO if has_demo else ''}\n# A well-known checkpoint of a hub.\n{hub}"


def _copy_demo(models: Path, samples: Path) -> None:
    from labelmill.demo.held_out import DATA, FOLDER

    shutil.copytree(FOLDER / "models", models)
    samples.mkdir()
    shutil.copy(DATA / "topics_heldout.csv", samples / "topics.csv")
    shutil.copytree(DATA / "digits", samples / "digits")
