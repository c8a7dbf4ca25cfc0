"""The digest of a bundle: its content, every file of it, and not its place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from closedloop.bundle.files import model_digest
from tests.unit.bundle.shop import fit_pipeline, write_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", fit_pipeline("logistic"))


def test_the_digest_covers_every_file(folder: Path) -> None:
    """One changed byte, one more file, one less, another name or another folder: each gives another
    digest."""
    digests = [model_digest(folder)]
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(files) == 4
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        digests.append(model_digest(folder))
        path.unlink()
        digests.append(model_digest(folder))
        path.with_name(f"{path.name}.old").write_bytes(content)
        digests.append(model_digest(folder))
        path.with_name(f"{path.name}.old").unlink()
        path.write_bytes(content)
    (folder / "more").mkdir()
    (folder / "more" / "file").touch()
    digests.append(model_digest(folder))
    (folder / "more" / "file").rename(folder / "file")
    digests.append(model_digest(folder))
    (folder / "file").unlink()
    assert len(set(digests)) == len(digests)
    assert model_digest(folder) == digests[0]


def test_the_digest_is_that_of_the_content_not_of_the_place(folder: Path, tmp_path: Path) -> None:
    """A copy under another name, in another order of creation, has the same digest."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in sorted(folder.iterdir(), reverse=True):
        shutil.copy(path, copy / path.name)
    assert model_digest(copy) == model_digest(folder)
