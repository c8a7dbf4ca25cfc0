"""The scripts beside docker-compose.yml: secrets, logs, digests, bills of materials."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.house.test_stack import DOCKERFILE, FILE, SERVICES
from tests.house.tree import ROOT


def test_secrets_are_made_once_and_kept(tmp_path: Path) -> None:
    """make-env.sh gives each missing secret a random value, keeps those that are there, and lets
    nobody else read the file."""
    file = tmp_path / "env"
    file.write_text("S3_REGION=here\nSTACK_API_KEY=mine\nGRAFANA_PASSWORD=\n", encoding="utf-8")
    file.chmod(0o644)
    script = ["sh", str(ROOT / "stack" / "make-env.sh"), str(file)]
    first = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    made = file.read_text(encoding="utf-8")
    assert "STACK_API_KEY=mine" in made
    assert re.search(r"^GRAFANA_PASSWORD=[0-9a-f]{48}$", made, flags=re.MULTILINE)
    values = re.findall(r"^[A-Z0-9_]+=(?:admin:)?([0-9a-f]{48})$", made, flags=re.MULTILINE)
    assert len(set(values)) == len(values) >= 12
    assert "STACK_API_KEY" not in first
    assert subprocess.run(script, capture_output=True, text=True, check=True).stdout == ""
    assert file.read_text(encoding="utf-8") == made
    subprocess.run([*script[:2], str(tmp_path / "new")], capture_output=True, check=True)
    assert not any(path.stat().st_mode & 0o077 for path in (file, tmp_path / "new"))


def test_what_an_image_can_read_from_a_file_it_gets_so(tmp_path: Path) -> None:
    """make-env.sh writes the files that docker-compose.yml mounts into a closed folder. A changed
    value goes into the same file, which a running container sees; the images get no variable with
    it."""
    file, folder = tmp_path / "env", tmp_path / "env.secrets"
    script = ["sh", str(ROOT / "stack" / "make-env.sh"), str(file)]
    subprocess.run(script, capture_output=True, check=True)
    assert {path.name for path in folder.iterdir()} == set(FILE["secrets"])
    assert folder.stat().st_mode & 0o777 == 0o700
    assert f"STACK_KEYS_FOLDER={folder}\n" in file.read_text(encoding="utf-8")
    key = folder / "STACK_API_KEY"
    before = key.stat().st_ino
    with file.open("a", encoding="utf-8") as more:
        more.write('STACK_API_KEY="another key"\n')
    subprocess.run(script, capture_output=True, check=True)
    assert (key.read_text(encoding="utf-8"), key.stat().st_ino) == ("another key", before)
    reading = {
        name: service["secrets"] for name, service in SERVICES.items() if "secrets" in service
    }
    assert sorted(name for names in reading.values() for name in names) == sorted(FILE["secrets"])
    for name in reading:
        given = SERVICES[name].get("environment", {})
        assert not [value for value in given.values() if "PASSWORD:?" in value or "KEY:?" in value]


def test_the_logs_of_the_stack_hold_no_secret(tmp_path: Path) -> None:
    """`make logs` puts the name of a secret of .env in the place of its value, each time it is
    there; other lines stay as they are."""
    (tmp_path / ".env").write_text(
        "# a comment\nS3_REGION=somewhere\nPREFECT_AUTH_STRING=admin:word/of&prefect\n"
        'STACK_API_KEY="key of clients"\nGRAFANA_PASSWORD=\n'
    )
    (tmp_path / "docker").write_text(
        "#!/bin/sh\necho 'api | key of clients, key of clients!'\n"
        "echo 'prefect | as admin:word/of&prefect in somewhere' >&2\n"
    )
    (tmp_path / "docker").chmod(0o755)
    done = subprocess.run(
        ["sh", str(ROOT / "stack" / "logs.sh")],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "api | [STACK_API_KEY], [STACK_API_KEY]!",
        "prefect | as admin:[PREFECT_AUTH_STRING] in somewhere",
    ]


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="the images are made of Debian")
def test_an_image_says_what_it_is_made_of() -> None:
    """The bill of materials names the packages of Python and of Debian with their versions, once
    each, in an order of its own."""
    written = subprocess.run(
        [sys.executable, str(ROOT / "stack" / "sbom.py")], capture_output=True, check=True
    ).stdout
    bill = json.loads(written)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    addresses = [component["purl"] for component in bill["components"]]
    assert addresses == sorted(set(addresses))
    assert f"pkg:pypi/fastapi@{version('fastapi')}" in addresses
    assert any(re.fullmatch(r"pkg:deb/debian/dpkg@[\d.]+\?arch=\w+", name) for name in addresses)
    # Nothing that installs packages is left in an image.
    assert DOCKERFILE.count("python /sbom.py > /opt/closedloop/sbom.json") == 2
    assert "venv --without-pip /opt/closedloop" in DOCKERFILE
    assert "uninstall --yes --root-user-action=ignore pip setuptools wheel" in DOCKERFILE


@pytest.mark.parametrize(("answer", "written"), [("sha256:" + "ab" * 32, True), ("", False)])
def test_the_digests_are_those_of_the_registries(
    answer: str, written: bool, tmp_path: Path
) -> None:
    """`make pin-images` asks for each public image by its tag alone and writes what it is told
    into both files; without an answer it changes nothing and fails."""
    copy, docker = tmp_path / "tree", tmp_path / "docker"
    (copy / "stack").mkdir(parents=True)
    for name in ("docker-compose.yml", "Dockerfile", "stack/pin-images.sh"):
        shutil.copy(ROOT / name, copy / name)
    docker.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\necho "{answer}"\n')
    docker.chmod(0o755)
    done = subprocess.run(
        ["sh", str(copy / "stack" / "pin-images.sh")],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
    )
    assert (done.returncode == 0) is written
    asked = [line.split()[-1] for line in (tmp_path / "asked").read_text().splitlines()]
    assert not [image for image in asked if "@" in image or "closedloop" in image]
    for name in ("docker-compose.yml", "Dockerfile"):
        before, after = (ROOT / name).read_text(), (copy / name).read_text()
        assert after == (re.sub("sha256:[0-9a-f]{64}", answer, before) if written else before)
    assert len(asked) == (5 if written else 1)
