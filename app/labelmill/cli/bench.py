"""``labelmill bench``: one's own model on one's own data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from labelmill.core.catalog import Catalog, ModelSpec
from labelmill.core.errors import ConfigurationError
from labelmill.core.settings import BrokerSettings

_stdout = Console()
_stderr = Console(stderr=True)


def bench(
    model: Annotated[
        str | None,
        typer.Argument(help="The model's alias; not needed if there is one.", show_default=False),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Texts (.csv, .jsonl) or a folder of images; else texts are made up."),
    ] = None,
    text_column: Annotated[str, typer.Option(help="The column of the texts.")] = "text",
    limit: Annotated[int, typer.Option(min=1, help="How many inputs are read at most.")] = 512,
    repeats: Annotated[int, typer.Option(min=1, help="How often each side is measured.")] = 3,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all figures here, too.")
    ] = None,
    plot_file: Annotated[
        Path | None, typer.Option("--plot", help="Draw them here, as .png or .svg.")
    ] = None,
) -> None:
    """Measure a model of models.toml here, against transformers.pipeline, and size its groups.

    It loads the model as a worker would, and needs no Redis and no database.

    Examples:

      labelmill bench topics --data messages.csv --text-column body

      labelmill bench digits --data scans/ --json digits.json --plot digits.png
    """
    name, spec = _chosen(model)
    # torch, transformers and matplotlib take seconds to import: only here.
    try:
        from labelmill.bench import plot, report, sizing
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{error.name} is not installed; pip install 'labelmill[bench]'"
        ) from error

    if plot_file:
        plot.check(plot_file)
    inputs = sizing.read_data(spec, data, text_column, limit)
    with _stderr.status(f"measuring {name} …"):
        found = sizing.measure(name, spec, inputs, repeats, lambda line: _stderr.print(line))
    headings, *rows = report.as_cells(found.measures)
    table = Table(title=f"{name}: {report.CAPTION}")
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place in report.WORDS else "right")
    for row in rows:
        table.add_row(*map(escape, row))
    _stdout.print(table)
    for note in found.notes:
        _stdout.print(note, highlight=False)
    if json_file:
        found.write(json_file)
    if plot_file:
        plot.draw(found, plot_file)


def _chosen(model: str | None) -> tuple[str, ModelSpec]:
    catalog = Catalog.load(BrokerSettings().models_file)
    if model is None:
        if len(catalog) > 1:
            raise ConfigurationError(f"name one of the models: {', '.join(catalog)}")
        (model,) = catalog
    return model, catalog.select([model])[model]
