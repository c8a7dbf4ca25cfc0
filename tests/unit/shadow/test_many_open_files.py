"""A service has a descriptor for each connection: more than a thousand are nothing unusual."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from closedloop.bundle.explaining import ExplainProcess
from closedloop.errors import ModelError
from closedloop.shadow.process import AnsweringProcess

MANY = 1_100  # `select` ends at 1,024


@pytest.fixture
def many_open_files() -> Iterator[None]:
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2 * MANY + usual, most), most))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(MANY)]
    yield
    for descriptor in opened:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))


@pytest.mark.usefixtures("many_open_files")
def test_the_process_that_explains_is_heard(tmp_path: Path) -> None:
    """It says that there is no version, which is what is wrong here."""
    process = ExplainProcess(tmp_path, tmp_path)
    with pytest.raises(ModelError):
        process.explain(np.zeros((1, 1)), np.zeros((1, 0), dtype=object), 60.0)
    process.close()


@pytest.mark.usefixtures("many_open_files")
def test_the_process_in_the_shadow_is_heard(tmp_path: Path) -> None:
    """It says that there is no version, which is what is wrong here."""
    process = AnsweringProcess(tmp_path, polite=True)
    with pytest.raises(ModelError):
        process.load()
    process.close()
