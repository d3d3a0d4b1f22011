"""What a verification says: one line for each thing that was looked at, in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen

PASSED: Final = "passed"
FAILED: Final = "failed"
ABSENT: Final = "not present"
OUTCOMES: Final[Mapping[str, str]] = {PASSED: "通过", FAILED: "不通过", ABSENT: "未提供"}

# check -> code of its failure, and what it is about
CHECKS: Final[Mapping[str, tuple[str, str, str]]] = {
    "file": ("SWX-7070", "the file", "文件"),
    "entries": ("SWX-7071", "entries as in the manifest", "条目与清单一致"),
    "manifest-signature": ("SWX-7072", "signature of the manifest", "清单的签名"),
    "timestamp": ("SWX-7079", "time stamp", "时间戳"),
    "signature": ("SWX-7073", "signature", "签名"),
    "sent": ("SWX-7074", "sent = original + signature", "所发 = 原件 + 签名"),
    "signing-log": ("SWX-7075", "signing log", "签名日志"),
    "chain": ("SWX-7076", "chain of the signing log", "签名日志的链"),
    "head": ("SWX-7076", "link that was noted", "事后记录的链值"),
    "journal": ("SWX-7077", "journal", "日志账"),
    "facts": ("SWX-7077", "facts", "报文要素"),
    "receipts": ("SWX-7078", "receipts", "回执"),
}


@frozen
class Check:
    """One thing that was looked at: *subject* is an entry, or nothing."""

    name: str
    outcome: str
    subject: str
    en: str
    zh: str

    @property
    def code(self) -> str:
        """The stable code of a failure."""
        return CHECKS[self.name][0] if self.outcome == FAILED else ""


def passed(name: str, en: str, zh: str, subject: str = "") -> Check:
    """Return that something is as it must be."""
    return Check(name, PASSED, subject, en, zh)


def failed(name: str, en: str, zh: str, subject: str = "") -> Check:
    """Return that something isn't as it must be."""
    return Check(name, FAILED, subject, en, zh)


def absent(name: str, en: str, zh: str, subject: str = "") -> Check:
    """Return that there is nothing to look at, or nothing to compare it with."""
    return Check(name, ABSENT, subject, en, zh)
