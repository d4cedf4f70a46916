"""One job from the command line."""

from __future__ import annotations

import sys
from pathlib import Path

import typer
from rich.console import Console

from labelmill.cli import report
from labelmill.client import Client, ImageInput
from labelmill.core.names import file_name
from labelmill.core.settings import BrokerSettings
from labelmill.core.states import Status
from labelmill.db.records import Record
from labelmill.media.uploads import UploadStore


def submit_one(
    model: str,
    *,
    text: str | None,
    image: Path | None,
    run: str | None,
    top_k: int | None,
    inline: bool,
    upload: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Submit a text or an image; print its id, or wait for its row and print that.

    Raises:
        typer.Exit: with code 1, where it has failed.
    """
    with Client() as client:
        if text is not None:
            job_id = client.submit_text(model, text, run=run, top_k=top_k)
        else:
            assert image is not None  # noqa: S101 - one of the two is given
            content: ImageInput = image
            if inline:
                content = image.read_bytes()
            elif upload:
                content = UploadStore.open(BrokerSettings().upload_store).put(image.read_bytes())
            name = file_name(str(image)) if inline or upload else None
            job_id = client.submit_image(model, content, image_name=name, run=run, top_k=top_k)
        if not wait:
            sys.stdout.write(f"{job_id}\n")
            return
        Console(stderr=True).print(f"job {job_id}", highlight=False)
        record = Record(client.wait(job_id), text or str(image))
    stdout = Console()
    if stdout.is_terminal and not as_json:
        stdout.print(report.results_table([record], stdout.width))
    else:
        report.write_json([record], sys.stdout)
    if record.result.status is Status.FAILED:
        raise typer.Exit(1)
