"""Redis servers with more in their configuration than Labelmill's own."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from labelmill.local.redis import RedisServer


class ConfiguredRedis(RedisServer):
    """A Redis with further lines in its configuration.

    Parameters:
        lines: with ``{directory}`` and ``{port}`` in them.
        password: None for one of its own.
    """

    def __init__(
        self, *lines: str, directory: Path | None = None, password: str | None = None
    ) -> None:
        super().__init__(directory)
        self._lines = lines
        self._shared_password = password

    def _command(self, directory: Path, port: int) -> Sequence[str | Path]:
        self._password = self._shared_password or self._password
        command = super()._command(directory, port)
        with (directory / "redis.conf").open("a") as config:
            config.writelines(
                line.format(directory=directory, port=port) + "\n" for line in self._lines
            )
        return command


def make_authority(folder: Path) -> None:
    """Write ``ca.pem``, and certificates of it for localhost and for a client, with their keys."""
    _openssl(
        folder,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=ours"
        " -keyout ca.key -out ca.pem",
    )
    for name in ("localhost", "client"):
        _openssl(
            folder,
            f"req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={name}"
            f" -addext subjectAltName=DNS:{name} -keyout {name}.key -out {name}.csr",
        )
        _openssl(
            folder,
            f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -days 2 -copy_extensions copy"
            f" -out {name}.pem",
        )


def _openssl(folder: Path, words: str) -> None:
    subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)
