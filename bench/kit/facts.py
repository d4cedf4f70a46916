"""What a machine has: versions, the card, and whether all that is needed is there.

``python bench/kit/facts.py facts.json``; exit code 1 where something is missing.
"""

from __future__ import annotations

import importlib
import importlib.metadata as metadata
import inspect
import json
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: What worker, benchmark and tests need.
ROOTS = [
    "labelmill[worker,postgres,embedded]",
    "labelmill-bench",
    "hypothesis",
    "psutil",
    "pytest",
    "pytest-timeout",
]
#: What a machine for such models has, with all that these need.
BROUGHT = ("numpy", "pillow", "safetensors", "setuptools", "torch", "transformers")
MODULES = (
    "labelmill.bench.gpu",
    "labelmill.cli.worker",
    "labelmill.client",
    "labelmill.engines.image",
    "labelmill.engines.text",
    "labelmill.worker.celery",
)


def main(file: Path) -> None:
    """Write the facts, and end with an error where something is missing."""
    versions, missing = packages(ROOTS)
    for name in MODULES:
        try:
            importlib.import_module(name)
        except Exception as error:
            missing[name] = f"{type(error).__name__}: {error}"
    found = {"missing": missing, "versions": versions, **device()}
    file.write_text(json.dumps(found, indent=1) + "\n")
    if missing:
        sys.exit(f"missing: {', '.join(f'{name} ({why})' for name, why in missing.items())}")


def packages(roots: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The versions of all that these need, and what of it is not installed.

    Which versions they ask for is not looked at: a machine's torch may be older than ours.
    """
    versions: dict[str, str] = {}
    missing: dict[str, str] = {}
    seen: set[str] = set()
    left = [(Requirement(root), "the kit") for root in roots]
    while left:
        wanted, by = left.pop()
        if str(wanted) in seen:
            continue
        seen.add(str(wanted))
        name = canonicalize_name(wanted.name)
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing[name] = f"not installed; {by} needs it"
            continue
        if name not in BROUGHT:
            needed = map(Requirement, metadata.requires(name) or ())
            left += [(each, name) for each in needed if is_wanted(each, wanted.extras)]
    return dict(sorted(versions.items())), missing


def is_wanted(needed: Requirement, extras: set[str]) -> bool:
    """Whether a requirement holds here, with these extras."""
    marker = needed.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in (*extras, ""))


def device() -> dict[str, object]:
    """The card, and what torch can do with it."""
    import torch
    from torch.nn.attention.varlen import varlen_attn

    found: dict[str, object] = {
        "python": sys.version.split()[0],
        "cuda": torch.version.cuda,
        "varlen_attn": list(inspect.signature(varlen_attn).parameters),
    }
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        found["gpu"] = {
            "name": properties.name,
            "memory": properties.total_memory,
            "multiprocessors": properties.multi_processor_count,
            "tells its energy": energy_is_told(),
        }
    return found


def energy_is_told() -> bool:
    """Whether the benchmark can say what energy texts take."""
    from labelmill.bench.utilisation import joules

    return joules("cuda:0") is not None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
