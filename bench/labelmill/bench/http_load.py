"""Load: many clients that each send a request, wait for its answer and send the next."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np


@dataclass(slots=True)
class Answers:
    """What came back."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Accepted requests a second."""
        return len(self.accepted) / self.seconds

    def percentile(self, percent: float) -> float:
        """How long that share of the requests took at most, in milliseconds."""
        return float(np.percentile(self.latencies, percent)) * 1000


def load(port: int, clients: int, seconds: float, body: dict[str, str]) -> Answers:
    """POST the body to ``/v1/jobs`` of 127.0.0.1 from many connections for some time."""
    return asyncio.run(_load(port, clients, seconds, body))


async def _load(port: int, clients: int, seconds: float, body: dict[str, str]) -> Answers:
    content = json.dumps(body).encode()
    head = (
        "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    answers = Answers()
    begin = time.monotonic()
    request = head.encode() + content
    await asyncio.gather(
        *(_client(port, request, begin + seconds, answers) for _ in range(clients))
    )
    answers.seconds = time.monotonic() - begin
    return answers


async def _client(port: int, request: bytes, end: float, answers: Answers) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (before := time.monotonic()) < end:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        content = await reader.readexactly(length)
        answers.latencies.append(time.monotonic() - before)
        status = int(head.split(b" ", 2)[1])
        answers.statuses[status] += 1
        if status == 202:
            answers.accepted.append(json.loads(content)["id"])
    writer.close()
    await writer.wait_closed()
