"""The how-to: each of its requests is made, and does what the page says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from labelmill.demo.held_out import DATA
from labelmill.gateway.settings import GatewaySettings
from tests.support.gateway import serving

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "how-to" / "gateway.md").read_text()
MODELS = {"topics": "texts", "digits": "images"}


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_requests_of_the_page_are_answered(settings: GatewaySettings, tmp_path: Path) -> None:
    shutil.copy(DATA / "digits" / "digit-0001.png", tmp_path / "scan.png")
    commands = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
    for ours, theirs in MODELS.items():
        commands = commands.replace(ours, theirs)
    commands = commands.replace("wait=10s", "wait=0.1s").replace("curl -s ", "curl -sS --fail ")
    with serving(settings) as gateway:
        accepted = gateway.post("/v1/jobs", json={"model": "texts", "text": "Hello"}).json()
        environment = os.environ | {
            "GATEWAY": str(gateway.base_url).rstrip("/"),
            "JOB": accepted["url"],
        }
        done = subprocess.run(
            ["bash", "-euc", commands.replace("\ncurl", "\necho; curl")],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    answers = [line for line in done.stdout.splitlines() if line]
    assert len(answers) == len(re.findall(r"^curl", commands, re.MULTILINE)) == 8
    assert '"id":"ticket-17"' in answers[2]
    assert '"code":"invalid_job"' in answers[2]
