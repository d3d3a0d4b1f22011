"""The description of the remote signing API (OpenAPI 3.1), kept by hand; a test holds it against the real routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from exchange.openapi import PROBLEM, answer, fields, itself, json, parameter, problems, ref, text, told, value
from exchange.signing._api_problems import KINDS
from exchange.signing._api_requests import MOST

_ALWAYS: Final = ("SWX-7061", "SWX-7062", "SWX-6000", "SWX-9000")
_ASKED: Final = ("SWX-7065", "SWX-7064", "SWX-1070")
_ALGORITHMS: Final = ("sm2-sm3", "rsa-sha1", "rsa-sha256", "ecdsa-sha256")
_BASE64: Final = {"contentEncoding": "base64"}
_ERROR: Final = value(
    "object", "why there is none: code, detail, zh", "未签名的原因: code, detail, zh",
    required=["code", "detail", "zh"],
    properties={"code": {"type": "string"}, "detail": {"type": "string"}, "zh": {"type": "string"}},
)  # fmt: skip


def _items(schema: str) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "maxItems": MOST, "items": ref(schema)}


_SIGN: Final = {
    "operationId": "sign",
    "summary": text("Have a batch signed", "批量签名"),
    "description": text(
        "Answers with the signatures, each written to the switch's disk and its signing log before. Under an"
        " Idempotency-Key the same request gets the same answer for as long as it is kept; another request under that"
        " key is refused (409). Items that a device couldn't sign have an error: send them again under a new key.",
        "返回签名结果; 结果及签名日志在返回前均已落盘。同一 Idempotency-Key 的相同请求在保存期内始终得到相同结果, "
        "内容不同则拒绝(409)。因设备原因未签成的条目带有 error, 请用新的键重新提交。",
    ),
    "parameters": [
        parameter("Idempotency-Key", "header", "the client's own name for this request", "客户端自定的请求标识",
                  maxLength=255),
        parameter("Prefer", "header", "respond-async: answer once it is on disk, and sign it then",
                  "respond-async: 落盘后即返回, 随后签名"),
    ],
    "requestBody": {"required": True, "content": json("SignRequest")},
    "responses": {
        "200": answer("Signed", "已签名", json("Job")),
        "202": answer("On disk; ask Location for it", "已落盘; 请到 Location 查询", json("Job")),
        **problems(KINDS, *_ALWAYS, *_ASKED, "SWX-7063"),
    },
}  # fmt: skip

_VERIFY: Final = {
    "operationId": "verify",
    "summary": text("Have signatures verified", "批量验签"),
    "requestBody": {"required": True, "content": json("VerifyRequest")},
    "responses": {"200": answer("Verdicts", "验签结论", json("Verdicts")), **problems(KINDS, *_ALWAYS, *_ASKED)},
}

_SCHEMAS: Final = {
    "SignRequest": fields(
        ["items"],
        mode=value("string", "async: as with Prefer: respond-async", "async: 同 Prefer: respond-async",
                   enum=["sync", "async"], default="sync"),
        items=_items("Item"),
    ),
    "Item": fields(
        ["id"],
        id=value("string", "the client's name for it, once in a batch", "条目标识, 批内唯一", maxLength=64),
        key=value("string", "key to sign with; without: your own", "签名密钥; 不填则用本方密钥"),
        profile=value("string", "signature profile, with content", "签名规格, 与 content 同用"),
        content=value("string", "what is to be signed", "待签名内容", **_BASE64),
        behind=value("array", "children of the root that stand behind a signature", "位于签名之后的根元素子元素",
                     items={"type": "string"}),
        algorithm=value("string", "with data, instead of profile and content", "与 data 同用, 代替 profile 和 content",
                        enum=list(_ALGORITHMS)),
        data=value("string", "signed as it is; needs a permission of its own", "原样签名; 需单独授权", **_BASE64),
        sm2_id=value("string", "the signer's id in SM2, where it isn't 1234567812345678",
                     "SM2 签名者标识, 缺省为 1234567812345678", **_BASE64),
    ),
    "Job": fields(
        ["job", "state", "at"],
        job=value("string", "its number, which the signing log has, too", "任务编号, 与签名日志一致"),
        state=value("string", "where it is", "状态", enum=["waiting", "done"]),
        at=value("string", "when it came (Beijing)", "受理时间(北京时间)", format="date-time"),
        done_at=value("string", "when it was finished", "完成时间", format="date-time"),
        results={"type": "array", "items": ref("Result")},
    ),
    "Result": fields(
        ["id"],
        id=value("string", "of the item", "条目标识"),
        content=value("string", "the signed content, by profile", "已签名内容(按签名规格)", **_BASE64),
        signature=value("string", "what goes beside the content, where the profile has it there; of data its value: r"
                        " and s side by side for SM2 and ECDSA, PKCS#1 for RSA",
                        "与内容分离的签名(按签名规格); data 的签名值: SM2 和 ECDSA 为 r||s, RSA 为 PKCS#1",
                        **_BASE64),
        serial=value("string", "of the certificate, hexadecimal", "证书序列号(十六进制)"),
        error=_ERROR,
    ),
    "VerifyRequest": fields(["items"], items=_items("Doubt")),
    "Doubt": fields(
        ["id", "content"],
        id=value("string", "the client's name for it, once in a batch", "条目标识, 批内唯一", maxLength=64),
        content=value("string", "what was signed, with its signature unless that follows", "已签名内容", **_BASE64),
        signature=value("string", "what came beside it", "与内容分离的签名", **_BASE64),
        profiles=value("array", "accepted; without: every known one", "接受的签名规格; 不填则为全部",
                       items={"type": "string"}),
        behind=value("array", "children of the root that stand behind a signature", "位于签名之后的根元素子元素",
                     items={"type": "string"}),
        party=value("string", "whose registered certificates count, and what its agreement asks of them (trust)",
                    "以该接入方登记的证书及其接入协议的要求(trust)为准"),
        certificates=value("array", "or those that count, PEM or DER", "或直接给出证书, PEM 或 DER",
                           items={"type": "string", **_BASE64}),
    ),
    "Verdicts": fields(["results"], results={"type": "array", "items": ref("Verdict")}),
    "Verdict": fields(
        ["id", "valid"],
        id=value("string", "of the item", "条目标识"),
        valid=value("boolean", "whether the signature stands", "签名是否有效"),
        code=value("string", "why it doesn't", "无效原因代码", pattern="^SWX-[0-9]{4}$"),
        detail=value("string", "the same in words", "原因(英文)"),
        zh=value("string", "and in Chinese", "原因(中文)"),
        profile=value("string", "by which it was signed", "签名规格"),
        signer=value("string", "subject of the certificate", "证书主体"),
        serial=value("string", "of the certificate, hexadecimal", "证书序列号(十六进制)"),
        not_before=value("string", "since when the certificate is valid", "证书生效时间", format="date-time"),
        not_after=value("string", "and until when", "证书失效时间", format="date-time"),
        warnings=value("array", "codes of what is odd about the certificate and lets it pass, such as SWX-1102",
                       "证书的警告代码, 如 SWX-1102", items={"type": "string"}),
    ),
    "Problem": PROBLEM,
}  # fmt: skip

DOCUMENT: Final[Mapping[str, Any]] = {
    "openapi": "3.1.0",
    "info": {
        "title": "Single Window Switch: remote signing · 远程签名接口",
        "version": "1",
        "description": text(
            "Have things signed with keys that the switch holds, and signatures verified. Clients are known by their"
            " TLS certificates. Problems come as application/problem+json; 'errors' lists every mistake of a batch.",
            "使用交换机保管的密钥签名, 并提供验签。客户端以 TLS 证书识别。错误以 application/problem+json 返回, "
            "errors 列出批内全部错误。",
        ),
    },
    "security": [{"certificate": []}],
    "paths": {
        "/v1/signatures": {"post": _SIGN},
        "/v1/signatures/{job}": {
            "get": {
                "operationId": "showJob",
                "summary": text("What became of a job", "查询任务结果"),
                "parameters": [parameter("job", "path", "the number that it was given", "任务编号")],
                "responses": {
                    "200": answer("The job", "任务", json("Job")),
                    **problems(KINDS, *_ALWAYS, "SWX-8040"),
                },
            }
        },
        "/v1/verifications": {"post": _VERIFY},
        "/v1/openapi.json": {"get": itself()},
    },
    "components": {
        "securitySchemes": {
            "certificate": {
                "type": "mutualTLS",
                "description": text("registered by the operator", "由平台运营方登记"),
            }
        },
        "schemas": _SCHEMAS,
        **told(KINDS),
    },
}
