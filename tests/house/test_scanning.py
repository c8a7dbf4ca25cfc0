"""What is renewed and scanned by itself: images.yml, what is in .github/scanning, and
dependabot.yml."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from tests.house.tree import ROOT

SCANNING = ROOT / ".github" / "scanning"
IMAGES: dict[str, Any] = yaml.safe_load(
    (ROOT / ".github" / "workflows" / "images.yml").read_text(encoding="utf-8")
)
UPDATES: list[dict[str, Any]] = yaml.safe_load(
    (ROOT / ".github" / "dependabot.yml").read_text(encoding="utf-8")
)["updates"]
# A Docker that has every image but one, and whose scanner finds something in another.
DOCKER = """#!/bin/bash
case "$*" in
  "image save "*missing*) exit 1 ;;
  "image save "*) echo "archive of $3" ;;
  compose*run*) cat "$SCANNED/image.tar"; ! grep -q vulnerable "$SCANNED/image.tar" ;;
esac
"""


@pytest.fixture
def scanned(tmp_path: Path) -> Path:
    """A folder with that Docker in bin/ and a copy of the scanner's files."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker").write_text(DOCKER, encoding="utf-8")
    (tmp_path / "bin" / "docker").chmod(0o755)
    shutil.copytree(SCANNING, tmp_path / "scanning")
    return tmp_path


def _run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{folder / 'bin'}:/usr/bin:/bin", "TMPDIR": str(folder)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


def test_the_scan_fails_when_one_image_fails_and_scans_all(scanned: Path) -> None:
    """A vulnerable image in the middle fails the scan in the end, by its name; the others are
    scanned and every table is kept."""
    done = _run(
        scanned, str(scanned / "scanning" / "scan"), "clean:1", "team/vulnerable:2", "last:3"
    )
    assert done.returncode == 1
    assert "vulnerable, or not scanned: team/vulnerable:2:" in done.stderr
    kept = {
        path.name: path.read_text(encoding="utf-8")
        for path in (scanned / "var" / "scanning").iterdir()
    }
    names = ["clean_1.txt", "last_3.txt", "team_vulnerable_2.txt"]
    assert sorted(kept) == names
    assert kept["last_3.txt"] == "archive of last:3\n"
    assert not list(scanned.glob("tmp*")), "the archives are left behind"


def test_the_scan_of_clean_images_passes(scanned: Path) -> None:
    """Nothing found is exit code 0."""
    assert _run(scanned, str(scanned / "scanning" / "scan"), "clean:1", "clean:2").returncode == 0


def test_an_image_that_was_not_scanned_never_passes(scanned: Path) -> None:
    """An image that cannot be read fails the scan after the others, and no image at all is a
    mistake of the caller."""
    done = _run(scanned, str(scanned / "scanning" / "scan"), "missing:1", "clean:1")
    assert done.returncode == 1
    assert "vulnerable, or not scanned: missing:1:" in done.stderr
    assert (scanned / "var" / "scanning" / "clean_1.txt").read_text(
        encoding="utf-8"
    ) == "archive of clean:1\n"
    assert _run(scanned, str(scanned / "scanning" / "scan")).returncode == 2


def test_the_scanner_is_pinned_and_sees_only_the_archive() -> None:
    """Its image has a digest, it runs without capabilities, and of the machine it is given the
    archive and its own settings, to read."""
    service = yaml.safe_load((SCANNING / "compose.yaml").read_text(encoding="utf-8"))["services"][
        "grype"
    ]
    assert re.fullmatch(r"anchore/grype:v[\d.]+@sha256:[0-9a-f]{64}", service["image"])
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    from_outside = [
        volume
        for volume in service["volumes"]
        if volume.startswith((".", "$")) or re.match(r"/[^:]+:", volume)
    ]
    assert len(from_outside) == 2
    assert all(volume.endswith(":ro") for volume in from_outside)
    assert not {"environment", "env_file", "privileged", "network_mode", "pid"} & set(service)


def test_the_scanner_reads_keys_that_mean_something() -> None:
    """High severity fails a scan, only where there is something to be done, and each exception says
    why."""
    settings = yaml.safe_load((SCANNING / "grype.yaml").read_text(encoding="utf-8"))
    assert settings["fail-on-severity"] == "high"
    assert settings["only-fixed"] is True
    assert all(rule["vulnerability"] and rule["reason"] for rule in settings["ignore"])


def test_every_variable_that_the_stack_asks_for_gets_a_value(tmp_path: Path) -> None:
    """Before the images are built, each variable that Compose requires is set, once; a variable
    with a default is not."""
    asked = '"${DB_KEY:?say}", "${DB_KEY:?say}", "${S3_KEY?say}", "${PORT:-80}", "${LEFT}"'
    file = '{"services": {"a": {"environment": [' + asked + "]}}}"
    (tmp_path / "docker-compose.yml").write_text(file, encoding="utf-8")
    for command in (["git", "init", "--quiet"], ["git", "add", "--all"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    (script,) = [
        step["run"]
        for step in IMAGES["jobs"]["images"]["steps"]
        if str(step.get("name")).startswith("Give each variable")
    ]
    assert _run(tmp_path, "bash", "-eo", "pipefail", "-c", script).returncode == 0
    assert (tmp_path / ".env").read_text(encoding="utf-8") == "DB_KEY=unused\nS3_KEY=unused\n"


def test_what_can_change_an_image_starts_the_scan() -> None:
    """A pull request that touches a Dockerfile, a lock, a compose file or the scanner is scanned;
    each Monday so is what nobody touched."""
    triggers = IMAGES[True]
    patterns = [pattern.removeprefix("**/") for pattern in triggers["pull_request"]["paths"]]
    for changed in (
        "Dockerfile",
        "docker-compose.yml",
        "compose.yaml",
        "requirements.lock",
        ".dockerignore",
        ".github/scanning/grype.yaml",
    ):
        assert any(fnmatch(changed, pattern) for pattern in patterns), changed
    assert len(triggers["schedule"]) == 1
    assert triggers["schedule"][0]["cron"].endswith("* * 1")


def test_the_audit_is_strict_and_locked() -> None:
    """pip-audit itself is installed by hash, looks at every lock, and fails when it could not look
    a package up."""
    runs = [step["run"] for step in IMAGES["jobs"]["locks"]["steps"] if "run" in step]
    assert any("--require-hashes -r .github/scanning/requirements.txt" in run for run in runs)
    assert "git ls-files '*.lock'" in runs[-1]
    assert "pip-audit --strict" in runs[-1]
    pins = re.findall(
        r"^([a-z][\w.-]*)==\S+.* \\$",
        (SCANNING / "requirements.txt").read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )
    assert "pip-audit" in pins
    assert os.access(SCANNING / "scan", os.X_OK)


def test_dependabot_looks_weekly_at_all_that_is_pinned_and_waits_a_week() -> None:
    """Actions, packages, base images and the stack's images are renewed, in groups, once a week and
    not on the day of their release."""
    assert {update["package-ecosystem"] for update in UPDATES} == {
        "github-actions",
        "pip",
        "uv",
        "docker",
        "docker-compose",
    }
    for update in UPDATES:
        assert update["schedule"] == {"interval": "weekly"}
        assert update["cooldown"]["default-days"] >= 7
        assert update["groups"]
    (compose,) = [update for update in UPDATES if update["package-ecosystem"] == "docker-compose"]
    assert f"/{SCANNING.relative_to(ROOT)}" in compose["directories"]


def test_dependabot_ignores_what_pyproject_excludes() -> None:
    """A version that Dependabot is told to leave is one that pyproject.toml excludes: a cap that
    goes there goes here, too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ranges = {
        Requirement(text).name: Requirement(text).specifier for text in project["dependencies"]
    }
    (pip,) = [update for update in UPDATES if update["package-ecosystem"] == "pip"]
    assert pip["ignore"]
    for rule in pip["ignore"]:
        (version,) = rule["versions"]
        assert not ranges[rule["dependency-name"]].contains(
            version.removeprefix(">="), prereleases=True
        ), rule
