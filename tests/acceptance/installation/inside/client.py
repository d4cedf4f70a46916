"""Run in a user's folder: labels a text, and then imports what is the user's."""

import json
import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

asked = json.loads(os.environ["ASKED"])
for room in asked["rooms"]:
    found = import_module(f"labelmill.{room}").__file__
    assert Path(found or "/").is_relative_to(asked["packages"]), found

from labelmill.client import Client  # noqa: E402

with Client() as client:
    result = client.wait(client.submit_text("topics", "Where is my parcel?"), timeout=60)

os.environ["THE_OWNER_IMPORTS"] = "yes"
for name in asked["names"]:
    spec = find_spec(name)
    assert spec, name
    places = spec.submodule_search_locations
    import_module(f"{name}.models" if places and not spec.origin else name)
    for place in places or [spec.origin]:
        assert Path(place).resolve().is_relative_to(Path.cwd()), place

print(json.dumps([result.label, result.worker]))  # noqa: T201
