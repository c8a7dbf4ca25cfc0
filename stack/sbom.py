"""A software bill of materials of the image this runs in, as CycloneDX JSON on stdout: the packages
of Python and of Debian. The same content gives the same text."""

from __future__ import annotations

import json
import platform
import subprocess
from importlib.metadata import distributions
from typing import Any
from urllib.parse import quote


def describe_image() -> dict[str, Any]:
    """The document, with a component for each package: name, version and package URL."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "components": sorted(
            [_component("generic", "python", platform.python_version()), *_python(), *_debian()],
            key=lambda component: component["purl"],
        ),
    }


def _python() -> list[dict[str, Any]]:
    found = []
    for package in distributions():
        component = _component("pypi", package.name.lower().replace("_", "-"), package.version)
        if license_expression := package.metadata.get("License-Expression"):
            component["licenses"] = [{"expression": license_expression}]
        found.append(component)
    return found


def _debian() -> list[dict[str, Any]]:
    listed = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${Package} ${Version} ${Architecture}\n"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [
        _component("deb/debian", name, version, f"?arch={architecture}")
        for name, version, architecture in map(str.split, listed.splitlines())
    ]


def _component(kind: str, name: str, version: str, qualifier: str = "") -> dict[str, Any]:
    return {
        "type": "library",
        "name": name,
        "version": version,
        "purl": f"pkg:{kind}/{name}@{quote(version, safe='.~')}{qualifier}",
    }


if __name__ == "__main__":
    print(json.dumps(describe_image(), indent=1))
