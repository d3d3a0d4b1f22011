"""The description of the HTTP API (OpenAPI 3.1), kept by hand; a test holds it against the real routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from adapters._http_problems import KINDS
from exchange.openapi import PROBLEM, answer, fields, itself, json, parameter, problems, ref, text, told, value

_BYTES: Final[Mapping[str, Any]] = {"application/octet-stream": {}}
_ALWAYS: Final = ("SWX-8010", "SWX-8020", "SWX-6000", "SWX-9000")
_ID: Final = parameter("id", "path", "the id that POST /v1/messages answered", "POST /v1/messages 返回的编号")
_CURSOR: Final = parameter("cursor", "path", "the cursor of an entry in the list", "列表条目的游标")

_SUBMIT: Final = {
    "operationId": "submitMessage",
    "summary": text("Hand over a message", "提交报文"),
    "description": text(
        "The body is the message itself, byte for byte as it was signed. 202 means that it is on disk and will not be"
        " lost; whether it is accepted comes as a receipt and shows in its life. Sending the same message again does"
        " no harm.",
        "请求体即报文原文，与签名时逐字节一致。返回 202 表示报文已落盘，不会丢失；是否受理以回执为准，"
        "也可查询报文全过程。重复发送同一报文不会造成重复申报。",
    ),
    "parameters": [
        parameter(
            "X-File-Name", "header", "name of the file, in UTF-8, percent-encoded; no slashes",
            "文件名，UTF-8 百分号编码，不含斜杠",
        )
    ],
    "requestBody": {"required": True, "content": {"application/xml": {}, **_BYTES}},
    "responses": {
        "202": answer(
            "On disk", "已落盘", json("Taken"),
            headers={"Location": {"description": text("where its life is shown", "查询地址"),
                                  "schema": {"type": "string"}}},
        ),
        **problems(KINDS, *_ALWAYS, "SWX-8030", "SWX-1070", "SWX-8060"),
    },
}  # fmt: skip

_RECEIPTS: Final = {
    "operationId": "listReceipts",
    "summary": text("List receipts", "查询回执"),
    "description": text(
        "Everything delivered to this endpoint after the cursor, oldest first. Keep 'next' and ask again with it;"
        " nothing is removed by reading.",
        "返回游标之后送达本端点的全部内容，按先后排列。请保存 next 并用于下次查询；读取不会删除任何内容。",
    ),
    "parameters": [
        parameter("after", "query", "cursor to go on from", "起始游标", default="0"),
        parameter("limit", "query", "entries at most", "最多条数", type="integer", minimum=1, maximum=100),
        parameter("wait", "query", "seconds to wait for the first entry", "无新回执时等待的秒数",
                  type="integer", minimum=0, maximum=30, default=0),
    ],
    "responses": {"200": answer("A page", "一页回执", json("Receipts")), **problems(KINDS, *_ALWAYS, "SWX-8030")},
}  # fmt: skip


def _get(name: str, parameter: Mapping[str, Any], en: str, zh: str, content: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": text(en, zh),
        "parameters": [parameter],
        "responses": {"200": answer(en, zh, content), **problems(KINDS, *_ALWAYS, "SWX-8040")},
    }


_SCHEMAS: Final = {
    "Taken": fields(
        ["id", "state"],
        id=value("string", "id of the message here", "本平台报文编号", examples=["20261122-42"]),
        state=value("string", "always RECEIVED: it is not decided yet", "恒为 RECEIVED: 尚未处理", const="RECEIVED"),
    ),
    "Life": fields(
        ["id", "state", "type", "facts", "deliveries", "receipts", "journal"],
        id=value("string", "id of the message here", "本平台报文编号"),
        state=value(
            "string", "where the message is in its life", "报文当前状态",
            enum=["RECEIVED", "ACCEPTED", "COMPLETED", "REJECTED", "HELD", "FAILED", "DUPLICATE", "DISCARDED"],
        ),
        type=value("string", "type it was identified as, else empty", "识别出的报文类型，未识别为空"),
        facts=value("object", "what was read of it", "从报文中读取的内容"),
        deliveries=value("array", "where it goes and how far it is", "各投递及其状态", items={"type": "object"}),
        receipts=value("array", "what was answered so far", "已收到的回执", items={"type": "object"}),
        journal=value("array", "every step, oldest first; of a reject, all findings", "全部经过，退单时含所有错误",
                    items={"type": "object"}),
    ),
    "Receipts": fields(
        ["receipts", "next"],
        receipts={"type": "array", "items": ref("Receipt")},
        next=value("string", "cursor for the next call", "下次查询使用的游标"),
    ),
    "Receipt": fields(
        ["cursor", "id", "refers_to", "type", "disposition", "at", "name", "size", "payload", "encoding", "body"],
        cursor=value("string", "place in this endpoint's list", "本端点列表中的位置"),
        id=value(["string", "null"], "id of this delivery, the same at every repetition", "投递编号，重发时不变"),
        refers_to=value(["string", "null"], "id of the message it answers", "所答复报文的编号"),
        type=value(["string", "null"], "message type", "报文类型"),
        disposition=value(
            ["string", "null"], "accepted, rejected, receipt, message or signature", "受理、退单、回执、报文或签名"
        ),
        at=value("string", "when it came about, in Beijing time", "产生时间（北京时间）", format="date-time"),
        name=value("string", "file name", "文件名"),
        size=value("integer", "bytes", "字节数"),
        payload=value("string", "where its bytes are", "原文地址"),
        encoding=value(["string", "null"], "how the body is written; null: too large, fetch the payload",
                     "body 的编码; null 表示过大，请取 payload", enum=["utf-8", "base64", None]),
        body=value(["string", "null"], "its bytes, so written", "按 encoding 表示的原文"),
    ),
    "Problem": PROBLEM,
}  # fmt: skip


DOCUMENT: Final[Mapping[str, Any]] = {
    "openapi": "3.1.0",
    "info": {
        "title": "Single Window Switch: openAPI for enterprises · 企业开放接口",
        "version": "1",
        "description": text(
            "Hand over messages, follow them, fetch receipts. Problems come as application/problem+json.",
            "提交报文、跟踪状态、获取回执。错误以 application/problem+json 返回。",
        ),
    },
    "security": [{"key": []}],
    "paths": {
        "/v1/messages": {"post": _SUBMIT},
        "/v1/messages/{id}": {"get": _get("showMessage", _ID, "The life of a message", "报文全过程", json("Life"))},
        "/v1/messages/{id}/payload": {"get": _get("getPayload", _ID, "Its bytes as they came", "报文原文", _BYTES)},
        "/v1/receipts": {"get": _RECEIPTS},
        "/v1/receipts/{cursor}/payload": {
            "get": _get("getReceiptPayload", _CURSOR, "The bytes of one entry", "单条回执原文", _BYTES)
        },
        "/v1/openapi.json": {"get": itself(security=[])},
    },
    "components": {
        "securitySchemes": {
            "key": {"type": "http", "scheme": "bearer", "description": text("issued by the operator", "由平台发放")}
        },
        "schemas": _SCHEMAS,
        **told(KINDS),
    },
}
