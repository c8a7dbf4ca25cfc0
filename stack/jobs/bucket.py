"""The bucket of the stack: `make` waits for the store and makes it, `list` names its objects, `save FOLDER` and `load FOLDER` copy them
out and in."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionError, EndpointConnectionError, HTTPClientError

WAIT_SECONDS = 90.0


def open_store() -> Any:
    """An S3 client for S3_ENDPOINT; credentials and region are read from AWS's own variables. Nothing is connected yet."""
    # By path, because the store has no name of its own for each bucket.
    settings = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 3, "mode": "standard"}, connect_timeout=5)
    return boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"], config=settings)


def make_bucket(store: Any, bucket: str) -> None:
    """Wait until the store answers, and make the bucket unless it is there; raises what the store said last when time is up."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            if bucket not in {one["Name"] for one in store.list_buckets()["Buckets"]}:
                store.create_bucket(Bucket=bucket)
            print(f"bucket {bucket}: there")
            return
        except (ClientError, ConnectionError, EndpointConnectionError, HTTPClientError) as error:
            refused = isinstance(error, ClientError) and error.response["ResponseMetadata"]["HTTPStatusCode"] in (401, 403)
            if refused or time.monotonic() > deadline:
                raise
            time.sleep(0.5)  # a store that starts has no event to wait for


def list_objects(store: Any, bucket: str) -> Iterator[str]:
    """The keys of all objects."""
    for page in store.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        yield from (one["Key"] for one in page.get("Contents", []))


def save_bucket(store: Any, bucket: str, folder: Path) -> int:
    """Copy every object into a file under `folder`; returns how many."""
    keys = list(list_objects(store, bucket))
    for key in keys:
        path = (folder / key).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise ValueError(f"object {key!r} would be written outside of {folder}")
        path.parent.mkdir(parents=True, exist_ok=True)
        store.download_file(bucket, key, str(path))
    return len(keys)


def load_bucket(store: Any, bucket: str, folder: Path) -> int:
    """Copy every file under `folder` into the bucket, over what has the same key; returns how many."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in files:
        store.upload_file(str(path), bucket, path.relative_to(folder).as_posix())
    return len(files)


def main(words: list[str]) -> None:
    """What the module says, for the words of a command line."""
    store, bucket = open_store(), os.environ["S3_BUCKET"]
    make_bucket(store, bucket)
    if words[0] == "list":
        print("\n".join(list_objects(store, bucket)))
    elif words[0] in ("save", "load"):
        copied = (save_bucket if words[0] == "save" else load_bucket)(store, bucket, Path(words[1]))
        print(f"{words[0]}: {copied} objects")


if __name__ == "__main__":
    main(sys.argv[1:])
