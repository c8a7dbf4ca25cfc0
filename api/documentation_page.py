"""The page at /docs: the OpenAPI document as plain HTML, which loads nothing from anywhere."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

# Nothing but the page's own styles, whatever stands in it.
HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
_BOUNDS = {
    "minimum": "at least",
    "maximum": "at most",
    "minItems": "items at least",
    "maxItems": "items at most",
    "minLength": "characters at least",
    "maxLength": "characters at most",
}
_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1rem; }
section { border-top: 1px solid var(--line); margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem .3rem 0; }
th, td { text-align: left; vertical-align: top; overflow-wrap: anywhere; }
code, pre { font-family: ui-monospace, monospace; font-size: .88rem; }
pre { background: var(--soft); padding: .7rem; overflow-x: auto; user-select: all; }
.method { background: var(--soft); padding: .1rem .4rem; border-radius: .2rem; }
"""


def render_page(document: Mapping[str, Any], address: str) -> str:
    """The whole page. `address` is that of the service, for the curl lines."""
    title = escape(document["info"]["title"])
    operations = [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    parts = [
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{title}</h1><p>{escape(document['info'].get('description', ''))}</p>",
        '<p>The same for programs: <a href="openapi.json">openapi.json</a>. '
        "A click on a curl line or an example selects it.</p>",
        "<ul>",
        *(_entry(method, path, operation) for method, path, operation in operations),
        "</ul>",
    ]
    schemes = document.get("components", {}).get("securitySchemes", {})
    for method, path, operation in operations:
        parts += _operation(method, path, operation, address, with_key=bool(schemes))
    for name, schema in document.get("components", {}).get("schemas", {}).items():
        parts += [f'<section id="{_anchor(name)}"><h2>{escape(name)}</h2>', *_schema(schema)]
        parts.append("</section>")
    return "\n".join((*parts, "</body></html>"))


def _entry(method: str, path: str, operation: Mapping[str, Any]) -> str:
    named = f'<a href="#{_anchor(method + path)}"><code>{method.upper()} {escape(path)}</code></a>'
    return f"<li>{named} {escape(operation.get('summary', ''))}</li>"


def _operation(
    method: str, path: str, operation: Mapping[str, Any], address: str, *, with_key: bool
) -> Iterator[str]:
    yield f'<section id="{_anchor(method + path)}">'
    yield f'<h2><code class="method">{method.upper()}</code> <code>{escape(path)}</code></h2>'
    yield f"<p><b>{escape(operation.get('summary', ''))}</b></p>"
    yield f"<p>{escape(operation.get('description', ''))}</p>"
    parameters = operation.get("parameters", [])
    keyed = with_key and bool(operation.get("security"))
    if parameters:
        yield "<h3>Parameters</h3>"
        yield _table(("name", "in", "type", "meaning"), map(_parameter, parameters))
    if keyed:
        yield "<p>Wants a key: <code>X-API-Key: KEY</code> or "
        yield "<code>Authorization: Bearer KEY</code>.</p>"
    url = address + _filled(path, parameters)
    content = operation.get("requestBody", {}).get("content", {})
    if not content:
        yield f"<pre>{escape(_curl(method, url, keyed))}</pre>"
    for kind, body in content.items():
        yield f"<h3>Body, <code>{escape(kind)}</code></h3>"
        yield from _schema(body.get("schema", {}))
        for name, example in _examples(body):
            text = example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)
            yield f"<p>Example {escape(name)}</p>"
            shown = example if isinstance(example, str) else _indented(example)
            yield f"<pre>{escape(shown)}</pre>"
            yield f"<pre>{escape(_curl(method, url, keyed, kind, text))}</pre>"
    yield "<h3>Responses</h3>"
    yield _table(
        ("status", "meaning", "content"), map(_response, operation.get("responses", {}).items())
    )
    yield "</section>"


def _parameter(parameter: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"<code>{escape(parameter['name'])}</code>",
        escape(parameter["in"]) + (", required" if parameter.get("required") else ""),
        _type(parameter.get("schema", {})),
        escape(parameter.get("description", "")),
    )


def _response(found: tuple[str, Mapping[str, Any]]) -> tuple[str, ...]:
    status, response = found
    content = "; ".join(
        f"<code>{escape(kind)}</code> {_type(body.get('schema', {}))}"
        for kind, body in response.get("content", {}).items()
    )
    return escape(str(status)), escape(response.get("description", "")), content


def _schema(schema: Mapping[str, Any]) -> Iterator[str]:
    """What it says of itself, and its fields, or its type where it has none."""
    if description := schema.get("description"):
        yield f"<p>{escape(description)}</p>"
    if not (fields := schema.get("properties")):
        yield f"<p>{_type(schema)}</p>"
        return
    required = schema.get("required", ())
    yield _table(
        ("field", "type", "meaning"),
        (
            (
                f"<code>{escape(name)}</code>" + (" (required)" if name in required else ""),
                _type(field),
                escape(field.get("description", "")),
            )
            for name, field in fields.items()
        ),
    )


def _type(schema: Any) -> str:
    """A type in words, as HTML; a named schema is a link to its section."""
    if not isinstance(schema, Mapping) or not schema:
        return "any value"
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        return f'<a href="#{_anchor(name)}">{escape(name)}</a>'
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return " or ".join(map(_type, schema[choice]))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return "one of " + ", ".join(
            f"<code>{escape(json.dumps(value))}</code>" for value in values
        )
    kinds = schema.get("type", "any value")
    words = escape(" or ".join(kinds) if isinstance(kinds, list) else str(kinds))
    if "items" in schema:
        words += f" of {_type(schema['items'])}"
    if fields := schema.get("properties"):
        inside = (f"<code>{escape(name)}</code>: {_type(field)}" for name, field in fields.items())
        words += f" with {', '.join(inside)}"
    elif isinstance(schema.get("additionalProperties"), Mapping):
        words += f" of {_type(schema['additionalProperties'])}"
    bounds = [f"{said} {schema[bound]}" for bound, said in _BOUNDS.items() if bound in schema]
    return words + (f" ({escape(', '.join(bounds))})" if bounds else "")


def _examples(body: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if "example" in body:
        yield "", body["example"]
    for name, example in body.get("examples", {}).items():
        yield name, example.get("value")


def _curl(method: str, url: str, keyed: bool, kind: str = "", body: str | None = None) -> str:
    words = ["curl", "-s", shlex.quote(url)]
    if method != "get" and body is None:
        words += ["-X", method.upper()]
    if keyed:
        words += ["-H", "'X-API-Key: KEY'"]
    if body is not None:
        words += ["-H", shlex.quote(f"Content-Type: {kind}"), "--data-binary", shlex.quote(body)]
    return " ".join(words)


def _filled(path: str, parameters: Sequence[Mapping[str, Any]]) -> str:
    """The path with the only value that each of its parameters has, if it has."""
    for parameter in parameters:
        values = parameter.get("schema", {}).get("enum")
        if parameter["in"] == "path" and values:
            path = path.replace(f"{{{parameter['name']}}}", str(values[0]))
    return path


def _table(headings: Sequence[str], rows: Any) -> str:
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    lines = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _indented(example: Any) -> str:
    return json.dumps(example, ensure_ascii=False, indent=2)


def _anchor(name: str) -> str:
    return escape(name.replace(" ", "-"))
