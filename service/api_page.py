"""The OpenAPI description as one HTML page, without scripts or anything from other origins."""

from __future__ import annotations

from html import escape
from typing import Any


def api_page(schema: dict[str, Any]) -> str:
    """The page for an OpenAPI schema."""
    operations = [
        _operation(method.upper(), path, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]
    models = schema.get("components", {}).get("schemas", {})
    shapes = [_shape(name, model) for name, model in models.items()]
    title = escape(schema["info"]["title"])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{title} API</title>"
        '<link rel="stylesheet" href="/assets/docs.css"></head><body><main>'
        f"<h1>{title} API</h1><p>{escape(schema['info'].get('description', ''))} "
        'For programs: <a href="/openapi.json">openapi.json</a>.</p>'
        f"{''.join(operations)}<h2>Shapes</h2>{''.join(shapes)}</main></body></html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    parameters = "".join(
        _row(each["name"], each["schema"], each.get("required", False), each.get("description", ""))
        for each in operation.get("parameters", [])
    )
    table = _table("Parameters", parameters) if parameters else ""
    bodies = operation.get("requestBody", {}).get("content", {})
    sent = "".join(f"<li>{escape(kind)}: {_type(b['schema'])}</li>" for kind, b in bodies.items())
    answers = "".join(
        f"<li>{escape(str(status))}: {escape(answer.get('description', ''))}</li>"
        for status, answer in operation["responses"].items()
    )
    scope = operation.get("x-scope")
    key = f"<p>An API key needs the scope <code>{escape(scope)}</code>.</p>" if scope else ""
    about = "".join(
        f"<p>{escape(part)}</p>" for part in operation.get("description", "").split("\n\n") if part
    )
    return (
        f"<section><h2><code>{method} {escape(path)}</code></h2>{about}{key}{table}"
        f"{f'<h3>Body</h3><ul>{sent}</ul>' if sent else ''}"
        f"<h3>Answers</h3><ul>{answers}</ul></section>"
    )


def _shape(name: str, model: dict[str, Any]) -> str:
    required = model.get("required", [])
    rows = "".join(
        _row(field, schema, field in required, schema.get("description", ""))
        for field, schema in model.get("properties", {}).items()
    )
    anchor = escape(name, quote=True)
    fields = _table("Fields", rows)
    return f'<section id="{anchor}"><h3><code>{escape(name)}</code></h3>{fields}</section>'


def _table(title: str, rows: str) -> str:
    return (
        f"<table><caption>{title}</caption><thead><tr><th scope=col>name</th>"
        "<th scope=col>type</th><th scope=col>needed</th><th scope=col>about</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def _row(name: str, schema: dict[str, Any], required: bool, about: str) -> str:
    default = schema.get("default")
    shown = f" (default {escape(str(default))})" if default is not None else ""
    return (
        f"<tr><th scope=row><code>{escape(name)}</code></th><td>{_type(schema)}</td>"
        f"<td>{'yes' if required else 'no'}</td><td>{escape(about)}{shown}</td></tr>"
    )


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    bounds = [
        f"{word} {schema[name]:g}"
        for name, word in (("minimum", "from"), ("maximum", "to"), ("maxLength", "at most"))
        if name in schema
    ]
    return " ".join([escape(str(schema.get("type", schema.get("title", "any")))), *bounds])
