"""The bucket of the stack: `make` waits for the store and makes it, `list` names its objects,
`save` writes a tar of them to stdout, `load` reads one from stdin."""

from __future__ import annotations

import os
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing
from typing import IO, Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionError,
    EndpointConnectionError,
    HTTPClientError,
)

WAIT_SECONDS = 90.0


def open_store() -> Any:
    """An S3 client for S3_ENDPOINT, not connected yet.

    Credentials and region come from AWS's own variables.
    """
    # By path, because the store has no name of its own for each bucket.
    settings = Config(
        s3={"addressing_style": "path"},
        retries={"max_attempts": 3, "mode": "standard"},
        connect_timeout=5,
    )
    return boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"], config=settings)


def make_bucket(store: Any, bucket: str) -> None:
    """Wait for the store and create the bucket if it is missing.

    Raises the store's last error after WAIT_SECONDS.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            if bucket not in {known["Name"] for known in store.list_buckets()["Buckets"]}:
                store.create_bucket(Bucket=bucket)
            return
        except (ClientError, ConnectionError, EndpointConnectionError, HTTPClientError) as error:
            refused = isinstance(error, ClientError) and error.response["ResponseMetadata"][
                "HTTPStatusCode"
            ] in (401, 403)
            if refused or time.monotonic() > deadline:
                raise
            time.sleep(0.5)  # a store that starts has no event to wait for


def list_objects(store: Any, bucket: str) -> Iterator[str]:
    """The keys of all objects."""
    for page in store.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        yield from (item["Key"] for item in page.get("Contents", []))


def save_bucket(store: Any, bucket: str, archive: IO[bytes]) -> int:
    """Write every object into a tar, under its key and without a copy in between; returns how many.

    An object that is deleted meanwhile is left out. Raises OSError when one breaks off: then the
    tar is not whole.
    """
    count = 0
    with tarfile.open(fileobj=archive, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for key in list_objects(store, bucket):
            try:
                found = store.get_object(Bucket=bucket, Key=key)
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                    raise
                continue
            member = tarfile.TarInfo(key)
            member.size, member.mtime = (
                found["ContentLength"],
                int(found["LastModified"].timestamp()),
            )
            with closing(found["Body"]) as body:
                tar.addfile(member, body)
            count += 1
    return count


def load_bucket(store: Any, bucket: str, archive: IO[bytes]) -> int:
    """Put what `save_bucket` wrote into the bucket; returns the number of objects.

    An object with the same key is replaced, others stay. Raises tarfile.ReadError when it is no
    tar, or one that breaks off.
    """
    count = 0
    # One after the other: the pieces of an object are read from one stream, and few fit into the
    # memory of a job.
    plainly = TransferConfig(use_threads=False)
    with tarfile.open(fileobj=archive, mode="r|") as tar:
        for member in tar:
            if (content := tar.extractfile(member)) is not None:
                store.upload_fileobj(_Forward(content), bucket, member.name, Config=plainly)
                count += 1
    return count


class _Forward:
    """Only `read`: tarfile's own files offer more than the stream below them can do."""

    def __init__(self, content: IO[bytes]) -> None:
        self.read = content.read


def main(words: list[str]) -> None:
    """What the module says, for the words of a command line."""
    store, bucket = open_store(), os.environ["S3_BUCKET"]
    make_bucket(store, bucket)
    said = "there"
    if words[0] == "list":
        print("\n".join(list_objects(store, bucket)))
    if words[0] == "save":
        said = f"{save_bucket(store, bucket, sys.stdout.buffer)} objects saved"
    if words[0] == "load":
        said = f"{load_bucket(store, bucket, sys.stdin.buffer)} objects loaded"
    # Not to stdout, which may be the tar.
    print(f"bucket {bucket}: {said}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
