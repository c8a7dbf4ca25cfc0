"""An MLflow that is not what it was: whatever it lists, names or sends, only the files of a bundle
are written, in our own folder, and it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

import pytest

from closedloop.bundle.files import model_digest, write_manifest
from closedloop.errors import ModelError, RegistryError
from closedloop.registry import artifacts, live_rest
from closedloop.registry.live import ProductionReader
from closedloop.registry.runs import DIGEST
from tests.unit.registry.hostile_server import Answering, Send, serve  # noqa: F401  # a fixture

pytestmark = pytest.mark.slow


@dataclass
class Hostile:
    """Says of one version whatever it is told to say; otherwise it behaves."""

    files: Path
    source: str = "mlflow-artifacts:/1/model"
    digest: str = ""
    listed: list[dict[str, Any]] = field(default_factory=list)
    send_file: Callable[[Answering, bytes], object] = Answering.send

    def __call__(self, request: Answering) -> None:
        asked = urlparse(unquote(request.path))
        inside = asked.path.partition("/mlflow-artifacts/artifacts")[2].strip("/")
        if asked.path.endswith("model-versions/get"):
            tags = [{"key": DIGEST, "value": self.digest or model_digest(self.files)}]
            request.send(
                json.dumps({"model_version": {"source": self.source, "tags": tags}}).encode()
            )
        elif inside:
            path = self.files / Path(inside).name
            self.send_file(request, path.read_bytes() if path.is_file() else b"planted")
        else:
            assert parse_qs(urlparse(request.path).query) == {"path": ["1/model"]}, (
                "followed a list"
            )
            files = [{"path": path.name, "is_dir": False} for path in self.files.iterdir()]
            request.send(json.dumps({"files": [*files, *self.listed]}).encode())


@pytest.fixture
def hostile(tmp_path: Path) -> Hostile:
    files = tmp_path / "store"
    files.mkdir()
    (files / "facts.json").write_text("{}", encoding="utf-8")
    (files / "model.skops").write_bytes(os.urandom(100_000))
    write_manifest(files)
    return Hostile(files)


@pytest.fixture
def download(
    tmp_path: Path, hostile: Hostile, serve: Callable[[Send], tuple[str, list[Any]]]
) -> Callable[[], Path]:
    def download() -> Path:
        home = tmp_path / "home"
        address, _ = serve(hostile)
        reader = ProductionReader(
            "shop", address, artifacts=home / "artifacts", downloads=home / "serving"
        )
        return reader.download(1)

    return download


def tree(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.lstat().st_size for path in folder.rglob("*")}


STRANGE = ["..", ".", "", "../../evil", "/etc/evil", "a\\..\\evil", "evil\0", "é" * 200, "x" * 5000]


@pytest.mark.parametrize("name", STRANGE, ids=lambda name: ascii(name[:12]))
def test_a_list_writes_nothing_but_files_of_a_bundle(
    tmp_path: Path, hostile: Hostile, download: Callable[[], Path], name: str
) -> None:
    """A server that lists names which lead elsewhere, as a file and as a folder: what it lists is
    not followed, and beside our folder nothing appears."""
    hostile.listed = [{"path": name, "is_dir": kind} for kind in (False, True)]
    before = tree(tmp_path)
    try:
        folder = download()
    except RegistryError:
        pass
    else:
        assert {path.name for path in folder.iterdir()} == set(os.listdir(hostile.files))
    assert all(name.startswith("home") for name in set(tree(tmp_path)) - set(before))
    assert not [path for path in tmp_path.rglob("*") if "evil" in path.name]


def drip(request: Answering, content: bytes) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    for byte in content:
        request.wfile.write(bytes([byte]))
        request.wfile.flush()
        threading.Event().wait(0.1)


def without_end(request: Answering, _content: bytes) -> None:
    request.send_response(200)
    request.send_header("Connection", "close")
    request.end_headers()
    while True:
        request.wfile.write(b"x" * 65536)


def another_each_time(request: Answering, content: bytes) -> None:
    request.send(os.urandom(len(content)))


@pytest.mark.parametrize(
    ("send", "told"),
    [
        (drip, "no whole answer in"),
        (without_end, "more than 1,000,000 bytes"),
        (another_each_time, "wanted files with sha256"),
        (lambda request, content: request.send(content[:-1]), "wanted files with sha256"),
        (lambda request, content: request.send(b"", 302, Location="/elsewhere"), "HTTP Error 302"),
    ],
    ids=["byte by byte", "without end", "another each time", "cut short", "elsewhere"],
)
def test_a_download_ends_and_leaves_nothing_that_is_not_right(
    tmp_path: Path,
    hostile: Hostile,
    download: Callable[[], Path],
    monkeypatch: pytest.MonkeyPatch,
    send: Any,
    told: str,
) -> None:
    """Too slow, too large, other than registered: refused, and no byte of it stays."""
    monkeypatch.setattr(live_rest, "DOWNLOAD_SECONDS", 0.5 if send is drip else 30.0)
    monkeypatch.setattr(live_rest, "MAX_BUNDLE_BYTES", 1_000_000)
    hostile.send_file = send
    with pytest.raises((ModelError, RegistryError), match=told):
        download()
    assert list((tmp_path / "home" / "serving" / "shop").iterdir()) == []


@pytest.mark.parametrize(
    "answer",
    [
        lambda request: request.send(b"[" * 200_000),
        lambda request: request.send(b'{"model_version": [1]}'),
        lambda request: request.send(b'{"a": 1, "b": "' + b"x" * 10_000_001),
        lambda request: request.send(b'{"model_version": {"version": 1' + b"0" * 5000 + b"}}"),
    ],
    ids=["deep", "other", "large", "a long number"],
)
def test_an_answer_that_is_not_mlflows_is_one_error(
    tmp_path: Path, serve: Callable[[Send], tuple[str, list[Any]]], answer: Send
) -> None:
    """Nested too deep, of another shape, too large: the registry cannot be reached, no more."""
    reader = ProductionReader("shop", serve(answer)[0], artifacts=tmp_path, downloads=tmp_path)
    for ask in (reader.find, lambda: reader.download(1)):
        with pytest.raises(RegistryError, match="wanted to"):
            ask()


def test_a_password_goes_to_no_other_server(
    tmp_path: Path,
    serve: Callable[[Send], tuple[str, list[Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A redirect is not followed."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "a secret")
    other, asked_there = serve(lambda request: request.send(b"{}"))
    address, asked = serve(lambda request: request.send(b"", 307, Location=f"{other}/x"))
    reader = ProductionReader("shop", address, artifacts=tmp_path, downloads=tmp_path)
    with pytest.raises(RegistryError, match="HTTP 307"):
        reader.find()
    assert [token for _, token in asked] == ["Bearer a secret"]
    assert asked_there == []


@pytest.mark.parametrize(
    "digest", ["/../../../victim", "..", "ab" * 31, "AB" * 32, "0" * 63 + "\n"]
)
def test_a_digest_that_is_none_is_no_path(
    hostile: Hostile, download: Callable[[], Path], digest: str
) -> None:
    """Such a note is told, and nothing is fetched."""
    hostile.digest = digest
    with pytest.raises(RegistryError, match="whose sha256 was noted at registration"):
        download()


def test_other_stores_are_fetched_by_mlflows_library_in_a_process_of_its_own(
    tmp_path: Path,
    hostile: Hostile,
    serve: Callable[[Send], tuple[str, list[Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of what S3 holds the files of a bundle are fetched, by name."""
    (hostile.files / "planted").write_text("by others", encoding="utf-8")

    def store(request: Answering) -> None:
        if "list-type" in request.path:
            keys = "".join(
                f"<Contents><Key>model/{path.name}</Key><Size>1</Size></Contents>"
                for path in hostile.files.iterdir()
            )
            ended = "<IsTruncated>false</IsTruncated>"
            request.send(f"<ListBucketResult>{ended}{keys}</ListBucketResult>".encode())
        else:
            path = hostile.files / Path(urlparse(request.path).path).name
            request.send(path.read_bytes(), ETag='"x"')

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "any")
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", serve(store)[0])
    into = tmp_path / "into"
    into.mkdir()
    artifacts.download_bundle(f"sqlite:///{tmp_path / 'none.db'}", "s3://bucket/model", into)
    assert model_digest(into) == model_digest(hostile.files)
    assert not (into / "planted").exists()


def test_the_system_ends_a_file_that_mlflows_library_would_write_without_end(
    tmp_path: Path, hostile: Hostile
) -> None:
    """The process that fetches may write so much and no more."""
    script = (
        "import sys; from closedloop.registry import mlflow_client\n"
        "mlflow_client.MAX_BUNDLE_BYTES = 50_000\n"
        "mlflow_client.download_files(*sys.argv[1:])"
    )
    given = ["sqlite:///none.db", str(hostile.files), str(tmp_path), "facts.json", "model.skops"]
    done = subprocess.run(
        [sys.executable, "-c", script, *given], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert (tmp_path / "facts.json").exists()


def test_a_process_that_fetches_for_too_long_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it waits for."""
    monkeypatch.setattr(artifacts, "DOWNLOAD_SECONDS", 0.01)
    with pytest.raises(TimeoutError, match="took more than"):
        artifacts.download_bundle(
            f"sqlite:///{tmp_path / 'none.db'}", "s3://bucket/model", tmp_path
        )
