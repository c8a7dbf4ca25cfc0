"""The bucket job against the stack's own object store, where Docker and its image are."""

from __future__ import annotations

import importlib.util
import io
import subprocess
import tarfile
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from tests.stack.own_stack import ROOT, OwnStack, require_docker

# More than what S3 clients send in one piece, nothing, and names that need care.
OBJECTS = {
    "a/large.bin": bytes(range(256)) * 40_000,
    "a/empty": b"",
    "a/b/ü & 100%.txt": b"1",
    f"{'long/' * 30}name.txt": b"2",
    "z": b"3",
}


@pytest.fixture(scope="module")
def job() -> ModuleType:
    """stack/jobs/bucket.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("bucket", ROOT / "stack" / "jobs" / "bucket.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def store_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """The stack's object store alone, on a free port: where it answers, and its keys."""
    require_docker()
    stack: OwnStack = OwnStack.prepare(tmp_path_factory.mktemp("store"))
    services = stack.config()["services"]
    service, inside = (
        services["s3"],
        services["s3-init"]["environment"]["S3_ENDPOINT"].rpartition(":")[2],
    )
    if stack.run("docker", "image", "inspect", service["image"]).returncode:
        pytest.skip(f"the image {service['image']} is not here: docker pull {service['image']}")
    options = [
        word
        for name, value in service["environment"].items()
        for word in ("--env", f"{name}={value}")
    ]
    user, _, group = service["user"].partition(":")
    started = stack.run(
        "docker",
        "run",
        "--detach",
        "--rm",
        "--name",
        stack.project,
        "--user",
        service["user"],
        "--tmpfs",
        f"/data:uid={user},gid={group}",
        "--tmpfs",
        "/tmp",
        "--publish",
        f"127.0.0.1::{inside}",
        *options,
        service["image"],
        *service["command"],
    )
    assert started.returncode == 0, started.stderr.decode()
    try:
        published = stack.run("docker", "port", stack.project, inside).stdout.decode().split()[0]
        yield f"http://{published}", service["environment"]
    finally:
        subprocess.run(
            ["docker", "rm", "--force", "--volumes", stack.project], capture_output=True, check=True
        )


@pytest.fixture
def store(
    job: ModuleType, store_address: tuple[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> Any:
    """A client of that store, as the job opens it."""
    monkeypatch.setenv("S3_ENDPOINT", store_address[0])
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, store_address[1][name])
    return job.open_store()


def _fill(job: ModuleType, store: Any, bucket: str) -> None:
    job.make_bucket(store, bucket)
    for key, content in OBJECTS.items():
        store.put_object(Bucket=bucket, Key=key, Body=content)


def _read(job: ModuleType, store: Any, bucket: str) -> dict[str, bytes]:
    return {
        key: store.get_object(Bucket=bucket, Key=key)["Body"].read()
        for key in job.list_objects(store, bucket)
    }


def test_what_is_saved_is_loaded_again(job: ModuleType, store: Any) -> None:
    """Every object comes back under its key with the same bytes, beside those that were there;
    making a bucket twice changes nothing."""
    _fill(job, store, "one")
    archive = io.BytesIO()
    assert job.save_bucket(store, "one", archive) == len(OBJECTS)
    job.make_bucket(store, "two")
    store.put_object(Bucket="two", Key="z", Body=b"older")
    store.put_object(Bucket="two", Key="another", Body=b"stays")
    job.make_bucket(store, "two")
    archive.seek(0)
    assert job.load_bucket(store, "two", archive) == len(OBJECTS)
    assert _read(job, store, "two") == {**OBJECTS, "another": b"stays"}


def test_an_archive_that_breaks_off_is_an_error(job: ModuleType, store: Any) -> None:
    """A tar that was cut within an object does not pass for one with fewer objects; nor does what
    is no tar."""
    _fill(job, store, "three")
    archive = io.BytesIO()
    job.save_bucket(store, "three", archive)
    job.make_bucket(store, "four")
    for content in (archive.getvalue()[:5_000_000], b"no tar at all" * 1000):
        with pytest.raises(tarfile.ReadError):
            job.load_bucket(store, "four", io.BytesIO(content))


class _Deleting:
    """A store in which somebody deletes an object at the moment in which it is asked for."""

    def __init__(self, store: Any, doomed: str) -> None:
        self._store, self._doomed = store, doomed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get_object(self, **asked: str) -> Any:
        if asked["Key"] == self._doomed:
            self._store.delete_object(**asked)
        return self._store.get_object(**asked)


def test_an_object_that_is_deleted_meanwhile_is_left_out(job: ModuleType, store: Any) -> None:
    """Reports are deleted while the stack runs: a backup that meets one goes on."""
    _fill(job, store, "five")
    archive = io.BytesIO()
    assert job.save_bucket(_Deleting(store, "a/empty"), "five", archive) == len(OBJECTS) - 1
    archive.seek(0)
    with tarfile.open(fileobj=archive) as tar:
        assert set(tar.getnames()) == set(OBJECTS) - {"a/empty"}
