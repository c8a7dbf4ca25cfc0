"""A filled stack is backed up while it runs, and the stack restored from it holds the same."""

from __future__ import annotations

import base64
import hashlib
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stack.backups import WINDOW, Copied, copy_stack, read_contents, restore
from tests.stack.own_stack import OwnStack

# The first test waits for two stacks to start.
pytestmark = [pytest.mark.stack, pytest.mark.nightly, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def copied(new_stack: Callable[..., OwnStack], tmp_path_factory: pytest.TempPathFactory) -> Copied:
    """Two running stacks: the one that was backed up, and the one it was restored into."""
    return copy_stack(new_stack, tmp_path_factory.mktemp("backups") / "copy")


@pytest.fixture
def damaged(copied: Copied, tmp_path: Path) -> Path:
    """A copy of the backup, to be damaged."""
    return shutil.copytree(copied.backup, tmp_path / "copy")


def test_mlflow_is_the_same(copied: Copied) -> None:
    """Experiments, runs, metrics, versions, tags and aliases, and every byte of every artifact,
    small, large and empty."""
    assert copied.after["mlflow"] == copied.before["mlflow"]
    runs = [run for name in ("first", "second") for run in copied.after["mlflow"][name]]
    assert [len(run["files"]) for run in runs] == [5, 5]
    assert copied.after["mlflow"]["shop"] == [{"production": "2", "previous": "1"}]


def test_prefect_is_the_same(copied: Copied) -> None:
    """Pools, variables and runs are there, and a secret can still be read: the key that it is
    encrypted with came along."""
    held = [
        {
            name: value
            for name, value in contents["prefect"].items()
            if name not in ("runs", "slots")
        }
        for contents in (copied.before, copied.after)
    ]
    assert (
        held[0] == held[1] == {"pools": ["heavy"], "variable": {"value": 3}, "secret": "as-it-was"}
    )
    assert copied.after["prefect"]["runs"]["ended"] == "Completed"


def test_a_run_that_was_under_way_does_not_keep_its_place(copied: Copied) -> None:
    """What ran while the backup was made has crashed in the new stack, and the limit that it held
    is free: else nothing would run again."""
    assert copied.before["prefect"]["runs"]["under-way"] == "Running"
    assert copied.after["prefect"]["runs"]["under-way"] == "Crashed"
    assert (copied.before["prefect"]["slots"], copied.after["prefect"]["slots"]) == (
        {"single": 1},
        {"single": 0},
    )


def test_the_journal_is_the_same(copied: Copied) -> None:
    """Each decision with its checks, details, time and outcome."""
    assert copied.after["journal"] == copied.before["journal"]
    assert [entry["window"] for entry in copied.after["journal"]] == ["month_1", "month_2"]


def test_keys_and_windows_are_the_same(copied: Copied) -> None:
    """Whoever had a key of the API keeps it, in a file that the API may write, and WITH_WINDOWS
    took the data along."""
    listed = [stack.job("api", "closedloop", "key", "list") for stack in (copied.old, copied.new)]
    assert listed[0] == listed[1]
    assert "friend" in listed[0]
    copied.new.job("api", "closedloop", "key", "add", "other")
    assert [
        name
        for name in ("friend", "other")
        if name in copied.new.job("api", "closedloop", "key", "list")
    ] == ["friend", "other"]
    assert copied.new.job("prefect-worker", "cat", "/windows/month_001.csv") == WINDOW


def _login(stack: OwnStack, user: str, password: str) -> int:
    """The status that MLflow answers a user with."""
    request = urllib.request.Request(
        f"{stack.address('CLOSEDLOOP_MLFLOW_PORT')}/api/2.0/mlflow/experiments/get?experiment_id=0"
    )
    request.add_header(
        "Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_nothing_of_the_old_secrets_is_needed(copied: Copied) -> None:
    """MLflow's users, whose hashes came with the database, have the passwords of the new stack's
    .env, and the old ones no longer."""
    for user in ("admin", "promoter", "trainer", "reader"):
        new, old = (
            stack.read(f"MLFLOW_{user.upper()}_PASSWORD") for stack in (copied.new, copied.old)
        )
        assert [_login(copied.new, user, password) for password in (new, old)] == [200, 401]
        assert [_login(copied.old, user, password) for password in (new, old)] == [401, 200]


def test_a_backup_is_for_its_owner_only_and_says_what_it_is_of(copied: Copied) -> None:
    """It holds secrets, so nobody else may read it; the manifest names time, revision, images and
    schemas, and every file has its sum."""
    assert {
        oct(path.stat().st_mode & 0o077) for path in (copied.backup, *copied.backup.iterdir())
    } == {"0o0"}
    manifest = (copied.backup / "manifest.txt").read_text(encoding="utf-8")
    assert {line.split()[0] for line in manifest.splitlines()} == {
        "made",
        "revision",
        "postgresql",
        "image",
        "schema",
    }
    sums = dict(
        reversed(line.split("  "))
        for line in (copied.backup / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    )
    assert sums == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in copied.backup.iterdir()
        if path.name != "SHA256SUMS"
    }
    assert copied.printed == f"restored {manifest.split()[1]}: run make up to start it\n"


def test_a_backup_that_fails_leaves_no_folder(copied: Copied, tmp_path: Path) -> None:
    """When the bucket cannot be read after the databases were, nothing is there that could be taken
    for a backup."""
    done = copied.old.run("sh", "stack/backup.sh", str(tmp_path / "none"), S3_ACCESS_KEY="another")
    assert (done.returncode, list(tmp_path.iterdir())) == (1, [])
    assert done.stderr.decode().splitlines()[-1] == "no backup: the bucket could not be read"


def test_a_backup_is_never_overwritten(copied: Copied) -> None:
    """An existing folder is refused before anything is read."""
    done = copied.old.run("sh", "stack/backup.sh", str(copied.backup))
    assert done.returncode == 1
    assert (
        done.stderr.decode()
        == f"no backup: {copied.backup} already exists: choose another folder\n"
    )


def _refused(stack: OwnStack, backup: Path) -> str:
    """The sentence that a restore is refused with, before anything of the stack was started."""
    done = restore(stack, backup)
    assert (done.returncode, stack.compose("ps", "--all", "--quiet")) == (1, "")
    (sentence,) = done.stderr.decode().splitlines()
    return sentence.removeprefix("not restored: ").replace(str(backup), "COPY")


def test_a_damaged_file_is_refused(new_stack: Callable[..., OwnStack], damaged: Path) -> None:
    """One changed bit in a dump, and one file that is gone: both are named."""
    dump = bytearray((damaged / "mlflow.dump").read_bytes())
    dump[len(dump) // 2] ^= 1
    (damaged / "mlflow.dump").write_bytes(dump)
    (damaged / "bucket.tar").unlink()
    assert (
        _refused(new_stack(), damaged)
        == "damaged: bucket.tar mlflow.dump in COPY; use another backup"
    )


def test_a_list_of_sums_that_lacks_a_file_is_refused(
    new_stack: Callable[..., OwnStack], damaged: Path
) -> None:
    """Neither a shortened list, nor a line that is no sum, nor no list at all lets an unproven file
    through."""
    stack, sums = new_stack(), damaged / "SHA256SUMS"
    lines = sums.read_text(encoding="utf-8").splitlines(keepends=True)
    sums.write_text("".join(line for line in lines if "prefect" not in line), encoding="utf-8")
    assert _refused(stack, damaged) == "COPY/SHA256SUMS does not name prefect.dump"
    sums.write_text(
        "".join("x" + line[1:] if "prefect" in line else line for line in lines), encoding="utf-8"
    )
    assert _refused(stack, damaged) == "damaged: SHA256SUMS in COPY; use another backup"
    sums.unlink()
    assert _refused(stack, damaged) == "COPY is not a finished backup: it has no SHA256SUMS"


def test_a_backup_of_newer_programs_is_refused(
    new_stack: Callable[..., OwnStack], damaged: Path
) -> None:
    """A schema that the image has no revision for would be damaged by programs that do not know
    it."""
    manifest, sums = damaged / "manifest.txt", damaged / "SHA256SUMS"
    before = manifest.read_bytes()
    manifest.write_bytes(before + b"schema mlflow alembic_version 0123456789ab\n")
    digests = [hashlib.sha256(content).hexdigest() for content in (before, manifest.read_bytes())]
    sums.write_text(sums.read_text(encoding="utf-8").replace(*digests), encoding="utf-8")
    said = _refused(new_stack(), damaged)
    assert said == (
        "the backup is from newer programs than this stack: "
        "mlflow (alembic_version 0123456789ab); update the stack first"
    )


def test_a_stack_that_holds_something_is_replaced_only_by_force(copied: Copied) -> None:
    """In use: refused. Down, but not empty: refused, and nothing has changed. With FORCE=1: what
    was there is gone, the backup is there."""
    stack = copied.new
    assert (
        restore(stack, copied.backup)
        .stderr.decode()
        .startswith("not restored: the stack is running (mlflow prefect-server): run make down")
    )
    stack.job("prefect-worker", "python", "-c", "import mlflow; mlflow.create_experiment('newer')")
    stack.compose("down")
    refused = restore(stack, copied.backup)
    assert refused.returncode == 1
    assert (
        refused.stderr.decode()
        .splitlines()[-1]
        .startswith("not restored: this stack holds data: closedloop (")
    )
    assert "newer" in stack.compose(
        "exec",
        "-T",
        "postgres",
        "psql",
        "-U",
        "postgres",
        "-Atc",
        "SELECT name FROM experiments",
        "mlflow",
    )
    forced = restore(stack, copied.backup, FORCE="1")
    assert forced.returncode == 0, forced.stderr.decode()
    stack.up("mlflow", "prefect-server")
    assert read_contents(stack) == copied.after


# Takes MLflow's newest revision back, as it was when that was not written yet.
DOWNGRADE = b"""
from alembic import command
from mlflow.store.db.utils import _get_alembic_config
command.downgrade(_get_alembic_config("postgresql+psycopg://mlflow@postgres:5432/mlflow"), "-1")
"""


def test_a_backup_of_an_older_mlflow_is_brought_up(copied: Copied, tmp_path: Path) -> None:
    """The restore itself upgrades its tables, for its server refuses them, unless whole tables are
    missing; and a backup needs no more than the two stores."""
    stack, older = copied.new, tmp_path / "older"
    stack.compose("stop", "mlflow", "prefect-server")
    stack.job("mlflow", "python", "-", given=DOWNGRADE)
    assert stack.run("sh", "stack/backup.sh", str(older)).returncode == 0
    schemas = [
        [
            line
            for line in (folder / "manifest.txt").read_text().splitlines()
            if "mlflow alembic_version " in line
        ]
        for folder in (copied.backup, older)
    ]
    assert schemas[0] != schemas[1]
    restored = restore(stack, older, FORCE="1")
    assert restored.returncode == 0, restored.stderr.decode()
    revision = stack.compose(
        "exec",
        "-T",
        "postgres",
        "psql",
        "-U",
        "postgres",
        "-Atc",
        "SELECT version_num FROM alembic_version",
        "mlflow",
    )
    assert schemas[0] == [f"schema mlflow alembic_version {revision.strip()}"]
    stack.up("mlflow", "prefect-server")
    assert read_contents(stack) == copied.after
