"""Words for descriptions of our HTTP interfaces (OpenAPI 3.1), which are kept by hand, in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from exchange.problems import Kind


def text(en: str, zh: str) -> str:
    """Say something in both languages."""
    return f"{en}\n\n{zh}"


def value(type: str | list[str], en: str, zh: str, **more: Any) -> dict[str, Any]:
    """Describe a value."""
    return {"type": type, "description": text(en, zh), **more}


def fields(required: list[str], **properties: Any) -> dict[str, Any]:
    """Describe an object."""
    return {"type": "object", "required": required, "properties": properties}


def ref(schema: str) -> dict[str, Any]:
    """Refer to a schema of the document."""
    return {"$ref": f"#/components/schemas/{schema}"}


def json(schema: str) -> dict[str, Any]:
    """Describe a body in JSON."""
    return {"application/json": {"schema": ref(schema)}}


def parameter(name: str, place: str, en: str, zh: str, **schema: Any) -> dict[str, Any]:
    """Describe a parameter in ``query``, ``path`` or ``header``."""
    always = {"required": True} if place == "path" else {}
    return {"name": name, "in": place, **always, "description": text(en, zh), "schema": {"type": "string"} | schema}


def answer(en: str, zh: str, content: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Describe an answer."""
    return {"description": text(en, zh), "content": content, **more}


def problems(kinds: Mapping[str, Kind], *codes: str) -> dict[str, Any]:
    """Refer to the problems that a request may be answered with, by status."""
    return {str(kinds[code].status): {"$ref": f"#/components/responses/{code}"} for code in codes}


PROBLEM: Final = fields(
    ["type", "title", "status", "detail", "code", "zh"],
    type=value("string", "where the code is explained", "错误码说明地址", format="uri-reference"),
    title=value("string", "what is wrong", "错误"),
    status=value("integer", "HTTP status", "HTTP 状态码"),
    detail=value("string", "what to do", "处理建议"),
    code=value("string", "stable code", "错误码", pattern="^SWX-[0-9]{4}$"),
    zh=value("string", "the same in Chinese", "中文说明"),
)


def told(kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """Describe every problem of an interface: the members ``responses`` and ``x-problems`` of its components."""
    return {
        "responses": {code: _response(kind) for code, kind in kinds.items()},
        "x-problems": {code: {"status": k.status, "title": k.title, "zh": k.zh} for code, k in kinds.items()},
    }


def _response(kind: Kind) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": ref("Problem")}}
    headers = {"Retry-After": {"schema": {"type": "integer"}}} if kind.status in (429, 503) else {}
    return answer(kind.title, kind.zh, content, headers=headers)


def itself(**more: Any) -> dict[str, Any]:
    """Describe the page that shows the description."""
    shown = answer("OpenAPI 3.1", "OpenAPI 3.1", {"application/json": {}})
    return {"operationId": "describe", "summary": text("This document", "本说明"), "responses": {"200": shown}, **more}
