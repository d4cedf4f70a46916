"""The benchmarks run, at sizes at which their figures mean nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkpoints import save_image_checkpoint, save_text_checkpoint
from tests.support.images import encoded, picture
from tests.support.together import together

# Too few for the image by which passes are measured, which would take half a minute.
FEW_PIXELS = "200000"


def run(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m …`` in a folder."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=environment() | settings,
        capture_output=True,
        text=True,
        check=False,
    )


def environment() -> dict[str, str]:
    """Without settings of ours."""
    kept = {name: value for name, value in os.environ.items() if "LABELMILL" not in name}
    return kept | {"COLUMNS": "160", "OMP_NUM_THREADS": "1"}


def report(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text())
    return found


#: Parts, and whom each is held against.
PEERS = {
    "texts": {
        "pipeline, batches of 32",
        "pipeline, one by one",
        "pipeline, sorted, batches of 32",
        "the pipeline at its best",
        "bare forward, one length",
    },
    "images": {
        "Pillow and the processor",
        "pipeline, batches of 32",
        "pipeline, 2 loaders",
        "bare forward",
    },
    "worker": {"its engine alone"},
    "replicas": {"linear"},
    "poison": {"no bad job"},
    "export": {"SELECT and csv.writer", "a loop over objects"},
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of the figures of all of them, and what was printed; one run, as a user's."""
    folder = tmp_path_factory.mktemp("parts")
    parts = (*PEERS, "memory")
    options = ("--smoke", "--database", "sqlite", "--results", str(folder))
    settings = {"LABELMILL_MAX_IMAGE_PIXELS": FEW_PIXELS}
    done = run(folder, "labelmill.bench", *parts, *options, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


@pytest.mark.parametrize("part", PEERS)
def test_a_part_prints_a_table_and_writes_its_figures(
    measured: tuple[Path, str], part: str
) -> None:
    folder, printed = measured
    assert f"{part}, SMOKE SIZES" in printed
    found = report(folder / f"{part}.json")
    assert {each["peer"] for each in found["measures"] if "peer" in each} == PEERS[part]
    assert all(value > 0 for each in found["measures"] for value in each.get("theirs", [1]))
    assert (folder / f"{part}.png").read_bytes().startswith(b"\x89PNG")


def test_memory_is_drawn_over_the_jobs(measured: tuple[Path, str]) -> None:
    (curve,) = report(measured[0] / "memory.json")["curves"]
    assert curve["points"][-1][0] == 2000


def test_the_gpu_s_code_runs_without_one_and_says_so(tmp_path: Path) -> None:
    # The budget is given: to measure it is tested elsewhere, and takes half a minute.
    options = ("--device", "cpu", "--smoke", "--token-budget", "4096", "--results", str(tmp_path))
    # Others are those of the kit; to compile takes a minute, and is tested elsewhere.
    parts = ("--parts", "bert-128", "worker", "vit", "memory")
    settings = {"LABELMILL_MAX_IMAGE_PIXELS": FEW_PIXELS}
    done = run(tmp_path, "labelmill.bench.gpu", *options, *parts, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not measured on a GPU" in done.stdout
    assert {each.get("peer") for each in report(tmp_path / "gpu.json")["measures"]} == {
        None,  # decoding alone, and the rate of each number of workers
        "bare forward",
        "bare forward, one length",
        "its engine alone",
        "pipeline, batches of 32",
        "pipeline, sorted, batches of 32",
        "the slower of bare forward and decoding",
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with models.toml, a file of texts and a folder of images."""
    save_text_checkpoint(tmp_path / "bert", "bert")
    save_image_checkpoint(tmp_path / "vit", "vit")
    (tmp_path / "models.toml").write_text(
        "\n".join(
            f'[models.{alias}]\ntask = "{kind}-classification"\ncheckpoint = "{checkpoint}"\n{more}'
            for alias, kind, checkpoint, more in (
                ("tickets", "text", "bert", "token_budget = 4096\n"),
                ("scans", "image", "vit", ""),
            )
        )
    )
    (tmp_path / "mine.csv").write_text(
        "\n".join(["body", *(f"parcel number {number} never came" for number in range(40))])
    )
    (tmp_path / "images").mkdir()
    for seed in range(4):
        file = tmp_path / "images" / f"{seed}.jpg"
        file.write_bytes(encoded(picture(seed=seed), "JPEG"))
    return tmp_path


def test_one_s_own_texts_size_one_s_own_model(folder: Path) -> None:
    done = run(
        folder,
        *("labelmill", "bench", "tickets", "--data", "mine.csv", "--text-column", "body"),
        *("--repeats", "1", "--json", "out.json", "--plot", "out.svg"),
    )
    assert done.returncode == 0, done.stderr
    found = report(folder / "out.json")
    suggested = found["options"]["suggested_group_size"]
    assert suggested in {16, 40}  # there are forty texts
    assert f"suggested group_size: {suggested}" in done.stdout
    assert {each["unit"] for each in found["measures"]} == {"texts/s", "tokens/s", "%"}
    assert found["measures"][-1]["ours"] == [100.0]
    assert "<svg" in (folder / "out.svg").read_text()


def test_a_folder_of_images_sizes_an_image_model(folder: Path) -> None:
    arguments = ("bench", "scans", "--data", "images", "--repeats", "1")
    done = run(folder, "labelmill", *arguments, LABELMILL_MAX_IMAGE_PIXELS=FEW_PIXELS)
    assert done.returncode == 0, done.stderr
    assert "suggested group_size: 4" in done.stdout


def test_what_cannot_be_measured_is_one_line(folder: Path) -> None:
    mistakes = {
        "tickets --data none.csv": "there is no file or folder none.csv",
        "tickets --data mine.csv": "has no column 'text'",
        "tickets --plot out.doc": "out.doc: a plot ends in",
        "scans": "name a folder of images with --data",
        "strangers": "no model 'strangers' in models.toml",
        "": "name one of the models: tickets, scans",
    }
    lines = [["bench", *line.split()] for line in mistakes]
    outcomes = together(folder, environment(), lines)
    for line, outcome in zip(mistakes, outcomes, strict=True):
        assert outcome.code in (1, 2), line
        assert mistakes[line] in outcome.said, line
        assert "Traceback" not in outcome.said, line


def test_the_front_door_opens_without_torch(tmp_path: Path) -> None:
    heavy = ("torch", "matplotlib")
    code = f"import sys, labelmill.cli.main; sys.exit(any(m in sys.modules for m in {heavy}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path)
    assert done.returncode == 0


def test_a_worker_s_packages_suffice_to_size_a_model(tmp_path: Path) -> None:
    absent = ("psutil", "psycopg", "matplotlib", "ray", "sklearn", "labelmill.local.postgres")
    code = f"import sys; sys.modules.update(dict.fromkeys({absent})); import labelmill.bench.sizing"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path)
    assert done.returncode == 0
