"""The kit for a machine with a GPU runs where there is none, and says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
KIT = ROOT / "bench" / "kit"
PROBES = ["layout", "parity", "long-text", "waits", "passes"]


def run(folder: Path, *words: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", **settings}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)


def test_the_facts_say_that_nothing_is_missing(tmp_path: Path) -> None:
    done = run(tmp_path, sys.executable, KIT / "facts.py", tmp_path / "facts.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "facts.json").read_text())
    assert found["missing"] == {}
    assert found["versions"]["labelmill"]
    assert "cu_seq_q" in found["varlen_attn"]


def test_each_probe_leaves_what_it_found(tmp_path: Path) -> None:
    options = ("--device", "cpu", "--smoke", "--token-budget", "4096", "--json", "probes.json")
    gpu = (sys.executable, "-m", "labelmill.bench.gpu")
    done = run(tmp_path, *gpu, *options, "--parts", *PROBES)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "probes.json").read_text())
    starts = ["BERT, bfloat16: PACKED", "MPNet, float32: PADDED", "BERT, bfloat16, PACKED, against"]
    starts += ["the mean of 512 tokens, bfloat16, PACKED, against", "a group of 16 texts"]
    for start in starts:
        assert any(note.startswith(start) for note in found["notes"]), start
    assert [len(curve["points"]) for curve in found["curves"]] == [2, 2]


def test_a_step_that_fails_ends_none_of_the_others(tmp_path: Path) -> None:
    settings = {"PYTHON": "false", "OUT": str(tmp_path / "out")}
    done = run(ROOT, "bash", KIT / "kit.sh", tmp_path, **settings)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "out" / "steps.jsonl").read_text().splitlines()
    steps = [json.loads(line) for line in lines]
    names = ["install", "facts", "probes", "tests", "benchmark"]
    assert [(step["step"], step["code"]) for step in steps] == [(name, 1) for name in names]


def test_without_time_steps_are_left_out(tmp_path: Path) -> None:
    settings = {"PYTHON": "false", "OUT": str(tmp_path / "out"), "DEADLINE": "9"}
    run(ROOT, "bash", KIT / "kit.sh", tmp_path, **settings)
    lines = (tmp_path / "out" / "steps.jsonl").read_text().splitlines()
    assert [json.loads(line)["skipped"] for line in lines] == [True] * 5
