"""The text of a CSV file as UTF-8, whatever its encoding and compression."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from closedloop.errors import SourceError

_COMPRESSION = {".gz": "gzip", ".zst": "zstd"}
_BLOCK_BYTES = 2**20
_NEIGHBOURS = re.compile(rb"[\x80-\xff]{3,}")
_C1 = re.compile(rb"[\x80-\x9f]")
_ESCAPED = re.compile("[\udc80-\udcff]")  # what `surrogateescape` makes of a wrong byte
_BEYOND_ASCII = re.compile("[\u0080-\ud7ff\ue000-\U0010ffff]")
_NOT_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")


class FileText(io.RawIOBase):
    """A file's bytes in UTF-8, read once from its beginning.

    `lines` and `quotes` count what was read. Raises SourceError, while it is read, when the file is
    in another encoding than `encoding`.
    """

    def __init__(self, path: Path, encoding: str, quote: str = '"') -> None:
        super().__init__()
        self._path, self._encoding, self._quote = path, encoding, quote.encode()
        self.raw, self._bytes = _open_bytes(path)
        self._codec = codecs.lookup(encoding).name
        self._decoder = codecs.getincrementaldecoder(encoding)()
        # Every file can be read as latin-1, also one in UTF-8: its text would be other letters.
        unicode = self._codec.startswith("utf-")
        self._as_utf8 = None if unicode else codecs.getincrementaldecoder("utf-8")()
        self._first, self._ascii = True, True
        self._waiting = memoryview(b"")
        self._line_feeds = self._returns = self.quotes = 0

    @property
    def lines(self) -> int:
        """Line ends so far; a return is one only in a file without line feeds."""
        return self._line_feeds or self._returns

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._waiting:
            block = self._bytes.read(_BLOCK_BYTES)
            self._waiting = memoryview(self._to_utf8(block))
            if not block:
                break
        view = memoryview(buffer).cast("B")
        size = min(len(view), len(self._waiting))
        view[:size], self._waiting = self._waiting[:size], self._waiting[size:]
        return size

    def _to_utf8(self, block: bytes) -> bytes:
        if self._first:
            self._refuse_another_mark(block)
            self._first = False
        self._try_utf8(block)
        try:
            text = self._decoder.decode(block, final=not block).encode("utf-8")
        except UnicodeError:
            raise refuse_encoding(self._path, self._encoding) from None
        if b"\0" in text:
            line = self.lines + text[: text.index(b"\0")].count(b"\n") + 1
            raise _refuse_nul(self._path, self._encoding, line)
        self._line_feeds += text.count(b"\n")
        self._returns += text.count(b"\r")
        self.quotes += text.count(self._quote) if self._quote else 0
        return text

    def _refuse_another_mark(self, block: bytes) -> None:
        """Marks at the beginning tell UTF-16, and UTF-8 among other encodings."""
        if self._codec.startswith("utf-32"):
            return
        marked = block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        utf16 = self._codec.startswith("utf-16")
        if marked != utf16 and (marked or b"\0" not in block[:100]) and block:
            raise refuse_encoding(self._path, self._encoding)

    def _try_utf8(self, block: bytes) -> None:
        if self._as_utf8 is None:
            return
        self._ascii = self._ascii and block.isascii()
        try:
            self._as_utf8.decode(block, final=not block)
        except UnicodeError:
            self._as_utf8 = None
        else:
            if not block and not self._ascii:
                raise refuse_encoding(self._path, self._encoding)


@dataclass(frozen=True)
class FoundEncoding:
    """What a file seems to be written in; `name` is empty when that cannot be told.

    `line` is the first that is not UTF-8, `mixed` whether other lines are.
    """

    name: str
    line: int = 0
    mixed: bool = False


def find_encoding(path: Path) -> FoundEncoding:
    """Look at the whole file."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    line = first = good = bad = neighbours = 0
    c1 = odd = False
    for number, block in enumerate(_blocks(path)):
        if not number and (name := _marked(block)):
            return FoundEncoding(name)
        text = decoder.decode(block, final=not block)
        if not text.isascii():
            wrong = _ESCAPED.search(text)
            if wrong and not first:
                first = line + text.count("\n", 0, wrong.start()) + 1
            bad += len(_ESCAPED.findall(text))
            good += len(_BEYOND_ASCII.findall(text))
            neighbours += sum(map(len, _NEIGHBOURS.findall(block)))
            c1, odd = c1 or bool(_C1.search(block)), odd or bool(_NOT_CP1252.search(block))
        line += text.count("\n")
    if not first:
        return FoundEncoding("utf-8")
    if good >= bad:
        return FoundEncoding("", first, mixed=True)
    if odd or 2 * neighbours > bad:
        # Western text has few letters with marks; other alphabets have whole words of such bytes.
        return FoundEncoding("", first)
    return FoundEncoding("cp1252" if c1 else "latin-1", first)


def _marked(block: bytes) -> str:
    if block.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    start = block[:100]
    if start.count(b"\0") * 3 >= len(start) > 1:
        return "utf-16-le" if start[1] == 0 else "utf-16-be"
    return ""


def refuse_encoding(path: Path, wanted: str) -> SourceError:
    """The error for a file that is not in the encoding of loop.toml: which one it seems to be."""
    found = find_encoding(path)
    settings = f'if all files are written so, set encoding = "{found.name}" under [source]'
    if found.name == "utf-8":
        got, settings = "UTF-8", "if all files are written so, remove encoding from [source]"
    elif found.name:
        got = f"not UTF-8, looks like {found.name}"
    elif found.mixed:
        got, settings = "UTF-8 with other bytes in some lines", "correct the lines that are not"
    else:
        got = "not UTF-8, and not latin-1 either"
        settings = 'or name its encoding under [source], such as encoding = "cp1251"'
    line = f" (first in line {found.line})" if found.line else ""
    convert = "" if found.name == "utf-8" else "save the file as UTF-8; "
    then = settings if found.mixed else f"{convert}{settings}"
    return SourceError(where=str(path), wanted=f"text in {wanted}", got=got + line, then=then)


def _refuse_nul(path: Path, encoding: str, line: int) -> SourceError:
    if find_encoding(path).name.startswith("utf-16"):
        return refuse_encoding(path, encoding)
    return SourceError(
        where=str(path),
        wanted="text",
        got=f"a nul byte in line {line}",
        then="remove it, or export the file again",
    )


def _open_bytes(path: Path) -> tuple[Any, Any]:
    raw = pa.OSFile(str(path))
    compression = _COMPRESSION.get(path.suffix)
    return raw, pa.CompressedInputStream(raw, compression) if compression else raw


def _blocks(path: Path) -> Iterator[bytes]:
    raw, content = _open_bytes(path)
    with raw:
        while block := content.read(_BLOCK_BYTES):
            yield block
    yield b""
