"""The errors of envelopes, in words; causes and cures are in ``exchange/codes.yaml``."""

from __future__ import annotations

from binascii import Error, a2b_base64
from collections.abc import Iterable, Sequence

from exchange.errors import Unreadable
from exchange.model import Finding

BLANKS = b" \t\r\n"


def broken_rules(kind: str, findings: Sequence[Finding]) -> Unreadable:
    """Return the error for an envelope that breaks its own rules."""
    return Unreadable(
        f"the {kind} envelope breaks its rules ({len(findings)}): correct what is listed and send it again",
        f"{kind} 信封不符合规范（{len(findings)} 处）：请按所列更正后重新发送",
        code="SWX-1080",
        findings=findings,
    )


def empty(what: str) -> Unreadable:
    """Return the error for an envelope with nothing in it."""
    return Unreadable(
        f"{what} is empty: put the message into the envelope and send it again",
        f"{what} 为空：请将报文装入信封后重新发送",
        code="SWX-1081",
    )


def base64(pieces: Iterable[bytes], what: str) -> bytes:
    """Decode base64 with blanks and line breaks anywhere. Raises Unreadable (SWX-1081, SWX-1082)."""
    decoded, left = [], b""
    try:
        for piece in pieces:
            left += piece.translate(None, BLANKS)
            whole = len(left) & ~3
            if left[:whole].endswith(b"=") and left[whole:]:
                raise ValueError("more after its end")
            if not left[:whole].endswith(b"="):  # else it waits: nothing may follow
                decoded.append(a2b_base64(left[:whole], strict_mode=True) if whole else b"")
                left = left[whole:]
        if left:
            decoded.append(a2b_base64(left, strict_mode=True))
        if not any(decoded):
            raise empty(what)
        return b"".join(decoded)
    except (Error, ValueError) as why:
        raise Unreadable(
            f"{what} isn't base64 ({str(why)[:60]}): encode the message and send it again",
            f"{what} 不是 base64（{str(why)[:60]}）：请重新编码后发送",
            code="SWX-1082",
        ) from None


def too_deep(limit: int) -> Unreadable:
    """Return the error for envelopes inside envelopes."""
    return Unreadable(
        f"there are more than {limit} envelopes around the message: send it with fewer",
        f"报文外的信封超过 {limit} 层：请减少层数后重新发送",
        code="SWX-1083",
    )


def no_package(en: str, zh: str) -> Unreadable:
    """Return the error for a zip file that can't be read."""
    return Unreadable(
        f"the zip package can't be read: {en}; pack it anew and send it again",
        f"压缩包无法读取：{zh}；请重新打包后发送",
        code="SWX-1084",
    )


def dangerous(en: str, zh: str) -> Unreadable:
    """Return the error for a zip file that nobody should unpack."""
    return Unreadable(
        f"the zip package is refused: {en}; pack only the message and its attachments",
        f"拒收该压缩包：{zh}；请只打包报文及其附件",
        code="SWX-1085",
    )


def not_one(names: Sequence[str]) -> Unreadable:
    """Return the error for a package that doesn't hold exactly one message."""
    found = ", ".join(names)[:200] or "none"
    return Unreadable(
        f"a package holds exactly one XML message, this one holds {len(names)} ({found}): send one package for each",
        f"一个压缩包只能有一份 XML 报文，此包有 {len(names)} 份（{'、'.join(names)[:200] or '无'}）：请逐份打包发送",
        code="SWX-1086",
    )
