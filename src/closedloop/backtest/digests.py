"""What a result of a replay is known by: its rows, the code and the packages."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from closedloop.bundle.installed import ANSWERING, describe_packages


def digest_frame(frame: pd.DataFrame) -> str:
    """sha256 of the names and values of all columns, rows in order; the index plays no part."""
    content = hashlib.sha256(str(len(frame)).encode())
    for name in frame.columns:
        content.update(f"\n{name}\n".encode())
        column = frame[name]
        if pd.api.types.is_numeric_dtype(column.dtype):
            content.update(column.to_numpy(dtype="<f8", na_value=np.nan).tobytes())
        else:
            codes, distinct = pd.factorize(column, use_na_sentinel=True)
            content.update(
                json.dumps([repr(value) for value in distinct]).encode()
                + codes.astype("<i8").tobytes()
            )
    return content.hexdigest()


@cache
def library_versions() -> tuple[str, ...]:
    """The versions of all packages that a result may depend on."""
    return tuple(describe_packages(("pandas", "scipy", "evidently", *ANSWERING)))


@cache
def digest_code(*modules: str) -> str:
    """Digest of the modules that compute a result: a changed line makes a new result."""
    folder = Path(__file__).parents[1]
    return hashlib.sha256(
        b"\0".join(folder.joinpath(f"{name}.py").read_bytes() for name in modules)
    ).hexdigest()
