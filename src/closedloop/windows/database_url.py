"""The address of a database: checked before anything connects, and shown without its password."""

from __future__ import annotations

import difflib
import re
from contextlib import suppress
from pathlib import Path

from closedloop.errors import SourceError

WHERE = "source database"


def require_database(url: str) -> None:
    """Raise SourceError when the address, its driver, or the file of SQLite is not there.

    SQLite makes a new database of a path with a typo.
    """
    import sqlalchemy as sa

    try:
        parsed = sa.make_url(url)
        parsed.get_dialect().import_dbapi()
    except (sa.exc.ArgumentError, ImportError, ValueError) as error:
        raise _wrong_address(url, error) from None
    name = parsed.database or ""
    if parsed.get_backend_name() != "sqlite" or name in ("", ":memory:"):
        return
    path = Path(name)
    if name.startswith("file:") or path.is_file():
        return
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    near = difflib.get_close_matches(path.name, [file.name for file in beside], n=2)
    raise SourceError(
        where=WHERE,
        wanted=f"the SQLite file {path}",
        got="a folder" if path.is_dir() else f"no such file in {path.parent.resolve()}",
        then=f"did you mean {' or '.join(near)}?" if near else "correct the path",
    )


def name_tables(url: str) -> list[str]:
    """The tables and views of a database; none when it does not answer."""
    import sqlalchemy as sa

    try:
        inspector = sa.inspect(sa.create_engine(url, poolclass=sa.pool.NullPool))
        return [*inspector.get_table_names(), *inspector.get_view_names()]
    except sa.exc.SQLAlchemyError:
        return []


def quote_name(name: str, url: str) -> str:
    """A name as SQL of this database, in quotes where it needs them."""
    import sqlalchemy as sa

    return str(sa.make_url(url).get_dialect()().identifier_preparer.quote(name))


def without_password(text: str, url: str) -> str:
    """A text, such as an error, in which the password of `url` is three stars."""
    import sqlalchemy as sa

    secrets = [
        *re.findall(r"://[^:/@]*:(.+)@", url),
        *re.findall(r"[?&](?:password|passwd|pwd)=([^&]+)", url),
    ]
    with suppress(sa.exc.ArgumentError, ValueError):
        secrets.append(sa.make_url(url).password or "")
    for secret in filter(None, secrets):
        text = text.replace(str(secret), "***")
    return text


def _wrong_address(url: str, error: Exception) -> SourceError:
    scheme = url.split("://")[0]
    example = "postgresql+psycopg://user:password@host/database"
    if isinstance(error, ImportError):
        got = f"{scheme}, whose driver {error.name} is not installed"
    elif re.fullmatch(r"\w+(\+\w+)?", scheme) and type(error).__name__ == "NoSuchModuleError":
        got = f"{scheme}, which SQLAlchemy does not know"
    else:
        got = "what is none"
    return SourceError(
        where=WHERE,
        wanted="a SQLAlchemy address with a driver that is installed",
        got=got,
        then="write postgresql+psycopg:// before the rest of the address"
        if scheme.startswith("postgres")
        else f"write it like {example} or sqlite:///shop.db, or install the driver",
    )
