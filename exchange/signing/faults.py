"""What can be wrong with a signature: stable codes, and what to tell the sender in English and Chinese."""

from __future__ import annotations

from typing import Final

from exchange.errors import BadSignature
from exchange.instants import Instant, show_instant
from exchange.signing.certificates import Certificate

MISSING: Final = "SWX-1031"
DIGEST: Final = "SWX-1032"
VALUE: Final = "SWX-1033"
STRANGER: Final = "SWX-1034"
EXPIRED: Final = "SWX-1035"
STRUCTURE: Final = "SWX-1036"
ALGORITHM: Final = "SWX-1037"
UNFIT: Final = "SWX-1038"
EARLY: Final = "SWX-1039"
REVOKED: Final = "SWX-1100"
CHAIN: Final = "SWX-1101"
OVERDUE: Final = "SWX-1102"
WRAPPED: Final = "SWX-1103"
NAMED: Final = "SWX-1104"
UNLISTED: Final = "SWX-1105"
TOO_LONG: Final = "SWX-1110"
CONTENT: Final = "SWX-1111"

_TEXTS: Final = {
    MISSING: (
        "the message carries no signature, and one is required: ds:Signature, as a rule as the last child of the root",
        "报文没有签名，而本方要求签名：请按报文格式在根元素内（一般为末尾）加入 ds:Signature",
    ),
    DIGEST: (
        "the digest doesn't match: the message was changed after it was signed; send exactly the bytes that you signed",
        "摘要不符：报文在签名后被改动；请原样发送已签名的内容，签名后不要再格式化",
    ),
    VALUE: (
        "the signature value doesn't match the certificate: check that key, algorithm and encoding belong together",
        "签名值与证书不符：请检查密钥、算法和编码是否一致",
    ),
    STRANGER: (
        "the certificate that signed isn't registered for this party: register it first, or sign with the right key",
        "签名所用的证书没有为该接入方登记：请先登记该证书，或改用正确的密钥签名",
    ),
    EXPIRED: (
        "the certificate that signed has expired: sign with a current one",
        "签名所用的证书已过期：请改用有效的证书签名",
    ),
    STRUCTURE: (
        "the signature isn't built as the profile requires",
        "签名结构不符合签名规格的要求",
    ),
    ALGORITHM: (
        "the signature's algorithms aren't accepted",
        "不接受该签名所用的算法",
    ),
    UNFIT: (
        "the message can't be signed as it stands",
        "报文按现状无法签名",
    ),
    EARLY: (
        "the certificate that signed isn't valid yet: sign with a current one, or when its time has come",
        "签名所用的证书尚未生效：请改用有效的证书签名，或待其生效后再报",
    ),
    REVOKED: (
        "a certificate has been revoked by its authority: sign with one that stands, and have that registered",
        "证书已被其签发机构吊销：请改用有效的证书签名，并办理登记",
    ),
    CHAIN: (
        "the certificate that signed doesn't chain to an authority that was agreed on: sign with one that does",
        "签名所用的证书不能追溯到约定的签发机构：请改用该机构签发的证书签名",
    ),
    OVERDUE: (
        "the authority's revocation list is overdue, so nobody knows whether the certificate still stands: nothing "
        "is wrong with the message; the platform must import a new list",
        "签发机构的吊销列表已过期，无法确认证书是否仍然有效：报文本身无误，须由平台导入新的吊销列表",
    ),
    WRAPPED: (
        "the signature isn't one over the whole message",
        "签名未覆盖整个报文",
    ),
    NAMED: (
        "the signature only names its certificate, and no certificate of this serial number is registered: put the "
        "certificate into KeyInfo (X509Data), or register it",
        "签名只给出证书序列号，而该序列号的证书未登记：请在 KeyInfo 中附上证书（X509Data），或先登记证书",
    ),
    UNLISTED: (
        "there is no revocation list of the certificate's authority here, and one is required: nothing is wrong with "
        "the message; the platform must import the list",
        "平台尚无该证书签发机构的吊销列表，而规定必须查验：报文本身无误，须由平台导入吊销列表",
    ),
    TOO_LONG: (
        "this is too much to be signed as it stands: use a profile of cms or gmt0010, which sign a digest",
        "内容过大，无法按原文直接签名：请改用 cms 或 gmt0010 格式的签名规格（对摘要签名）",
    ),
    CONTENT: (
        "the signature came without what it signs: hand in both, the signature and exactly the bytes that were signed",
        "只有签名，没有被签名的内容：请同时提交签名和签名时的原始内容",
    ),
}


def bad(code: str, en: str = "", zh: str = "") -> BadSignature:
    """Return the error of *code*, with what is particular to this case in both languages.

    >>> str(bad(UNFIT, "it is signed already", "报文已有签名"))
    "SWX-1038 the message can't be signed as it stands: it is signed already"
    """
    common_en, common_zh = _TEXTS[code]
    return BadSignature(f"{common_en}: {en}" if en else common_en, f"{common_zh}：{zh}" if zh else common_zh, code=code)


def expired(certificate: Certificate, at: Instant) -> BadSignature:
    """Return the error of a signer's certificate that isn't valid at *at*."""
    code = EARLY if at < certificate.not_before else EXPIRED
    since, until = show_instant(certificate.not_before), show_instant(certificate.not_after)
    serial = certificate.serial
    return bad(code, f"{serial} is valid {since} to {until}", f"{serial} 有效期 {since} 至 {until}")
