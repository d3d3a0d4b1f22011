"""The checks that certify a device, in the order in which they are made."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from exchange.errors import ConfigurationError
from exchange.options import Secret
from exchange.signing import certificates
from exchange.signing.certify import KINDS, Bench, Broken, Check, Key, Needless, kind_of, signed
from exchange.signing.latency import percentiles
from exchange.tokens.device import REQUEST, DeviceFault

WIDTHS: Final = ("ecc_bytes", "rsa_bytes")  # settings of SDF
OTHER_WIDTH: Final = {32: 64, 64: 32, 256: 512, 512: 256}
MECHANISMS: Final = {"rsa": "RSA_PKCS", "p256": "ECDSA"}
SIZES: Final = (1, 700, 64 * 1024, 512 * 1024)
SESSIONS: Final = (2, 4, 16)
MANY: Final = 256  # sessions, more than most devices have
LONGEST: Final = 120.0  # seconds for one key's row of signatures
STALE: Final = ("pin-final-try", "pin-locked")
HANGS: Final = 3


async def loads(bench: Bench, _: Key) -> str:
    """Load the library, without any PIN."""
    bench.seen = await bench.link().look()
    return "; ".join(" ".join(str(row.get(part, "")) for part in ("manufacturer", "model")) for row in bench.seen)


async def opens(bench: Bench, _: Key) -> str:
    """Open the device and log in; not where a PIN that is wrong would be the last."""
    wanted = getattr(bench.plan.settings, "token", "")
    for row in bench.seen:
        if wanted in ("", row.get("token")) and (flags := [f for f in STALE if f in row.get("flags", ())]):
            raise Broken(f"nobody logs in while the token says: {', '.join(flags)}")
    began = time.monotonic()
    async with bench.session():
        return f"in {(time.monotonic() - began) * 1e3:.0f} ms"


async def public(bench: Bench, key: Key) -> str:
    """Export the public half."""
    async with bench.session() as link:
        info = await link.ask("public_key", key.place)
    try:
        key.public = certificates.public_key(info)
    except ConfigurationError:
        if not hasattr(bench.plan.settings, "ecc_bytes"):
            raise Broken("what is exported is no key on a curve that we know") from None
        return "exported"
    key.kind = kind_of(key.public)
    return f"{key.kind}, {len(info)} bytes"


async def fields(bench: Bench, key: Key) -> str:
    """See that what is exported is a key, and else whether it is one with the other width."""
    settings = bench.plan.settings
    widths = {name: getattr(settings, name) for name in WIDTHS if hasattr(settings, name)}
    if not widths:
        raise Needless("only SDF has fields")
    if _plausible(key.public):
        return ", ".join(f"{name}: {width}" for name, width in widths.items())
    for name, width in widths.items():
        async with bench.opened(1, **{name: OTHER_WIDTH[width]}) as link:
            if _plausible(_read(await link.ask("public_key", key.place))):
                raise Broken(f"it is a key with {name}: {OTHER_WIDTH[width]}, not with {width}")
    raise Broken("it is no key with any width")


def _read(info: bytes) -> Any:
    try:
        return certificates.public_key(info)
    except ConfigurationError:
        return None


def _plausible(public: Any) -> bool:
    return public is not None and not (isinstance(public, RSAPublicKey) and public.key_size % 256)


async def mechanisms(bench: Bench, key: Key) -> str:
    """See that the token lists what the key needs."""
    listed = {name for row in bench.seen for name in row.get("mechanisms", ())}
    if not listed:
        raise Needless("only PKCS#11 lists mechanisms")
    _known(key)
    needed = MECHANISMS.get(key.kind) or _sm2_mechanism(bench)
    if needed not in listed:
        raise Broken(f"{needed} isn't among {len(listed)} mechanisms")
    return needed


def _sm2_mechanism(bench: Bench) -> str:
    how = getattr(bench.plan.settings, "sm2", None)
    if how is None:
        raise Broken("sm2 isn't set: which mechanism signs with SM2?")
    return f"0x{how.mechanism:X}"


async def encoding(bench: Bench, key: Key) -> str:
    """Look at the shape of signatures, before it is asked whether they are right."""
    _known(key)
    wanted = key.public.key_size // 8 if key.kind == "rsa" else 64
    async with bench.session() as link:
        for number in range(8):
            value = await link.ask("sign", key.place, key.algorithm, b"%d" % number)
            if len(value) != wanted:
                shape = "DER" if key.kind != "rsa" and value[:1] == b"\x30" else "another shape"
                raise Broken(f"{len(value)} bytes ({shape}) instead of {wanted}")
            if key.kind != "rsa" and not (any(value[:32]) and any(value[32:])):
                raise Broken("r or s is nothing but zeros: fields are of another width, or filled from the left")
    return f"{wanted} bytes"


async def signs(bench: Bench, key: Key) -> str:
    """Sign with every algorithm, and verify."""
    _known(key)
    async with bench.session() as link:
        for algorithm in KINDS[key.kind]:
            await signed(link, key, algorithm=algorithm)
    key.signs = True
    return ", ".join(KINDS[key.kind])


async def sizes(bench: Bench, key: Key) -> str:
    """Sign little and much."""
    _able(key)
    async with bench.session() as link:
        for size in SIZES:
            await signed(link, key, bytes(size))
    return ", ".join(map(str, SIZES))


async def distinct(bench: Bench, key: Key) -> str:
    """Sign the same data again and again, one after the other; no two may share r."""
    _able(key)
    seen: set[bytes] = set()
    end = time.monotonic() + LONGEST
    async with bench.session() as link:
        for number in range(bench.plan.signatures):
            began = time.monotonic()
            value = await signed(link, key)
            key.seconds.append(time.monotonic() - began)
            if key.kind != "rsa" and value[:32] in seen:
                raise Broken(f"signature {number + 1} has the r of an earlier one")
            seen.add(value[:32])
            if began > end:
                break
    return f"{len(key.seconds)} signatures"


async def latency(bench: Bench, key: Key) -> str:
    """Judge how long each of those took, verifying included."""
    if not key.seconds:
        raise Needless("there are no signatures to judge by")
    told = percentiles(key.seconds)
    text = ", ".join(f"{name.removesuffix('_ms')} {value:.1f} ms" for name, value in told.items())
    if told["p95_ms"] > bench.plan.slowest_ms:
        raise Broken(f"{text}; p95 may be {bench.plan.slowest_ms:g} ms")
    return text


async def parallel(bench: Bench, key: Key) -> str:
    """Sign with several sessions at once, different data each."""
    _able(key)
    told = []
    for sessions in SESSIONS:
        async with bench.opened(sessions) as link:
            began = time.monotonic()
            count = sessions * 8
            values = await asyncio.gather(
                *(link.ask("sign", key.place, key.algorithm, b"%d" % n) for n in range(count))
            )
            rate = count / (time.monotonic() - began)
        wrong = sum(not certificates.stands(key.public, key.algorithm, v, b"%d" % n) for n, v in enumerate(values))
        if wrong:
            raise Broken(f"with {sessions} sessions {wrong} of {count} signatures don't verify")
        told.append(f"{sessions} sessions {rate:.0f}/s")
    return ", ".join(told)


async def limit(bench: Bench, _: Key) -> str:
    """Ask for more sessions than most devices have; then see that it works on."""
    key = bench.usable()
    told = f"{MANY} sessions opened"
    try:
        async with bench.opened(MANY):
            pass
    except DeviceFault as fault:
        if fault.code in ("DIED", "START"):
            raise Broken(f"{MANY} sessions: {fault.text}") from fault
        told = f"refused with {fault.code}"
    async with bench.session() as link:
        await signed(link, key)
    return told


async def relogin(bench: Bench, _: Key) -> str:
    """Log out and in again in one process."""
    key = bench.usable()
    async with bench.session() as link:
        await signed(link, key)
        try:
            await link.ask("logout", key.place)
        except DeviceFault as fault:
            if fault.kind == REQUEST:
                raise Needless(fault.text) from None
            raise
        await link.ask("login", key.place)
        await signed(link, key)
    return "signs again"


async def wrong_pin(bench: Bench, _: Key) -> str:
    """Try a wrong PIN, once, where that was asked for."""
    settings = bench.plan.settings
    if not bench.plan.wrong_pin or settings.pin is None:
        raise Needless("it wasn't asked for")
    if getattr(settings, "access", "pin") == "none":
        raise Needless("the device asks for no PIN")
    key = bench.usable()
    with _wrong(settings.pin) as pin:
        try:
            async with bench.opened(1, pin=pin) as link:
                await signed(link, key)
        except DeviceFault as fault:
            told = fault.code
        else:
            raise Broken("a wrong PIN signs")
    async with bench.session() as link:
        await signed(link, key)
    return f"refused with {told}"


@contextmanager
def _wrong(pin: Secret) -> Iterator[Secret]:
    """Give another PIN of the same length, in a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pin"
        path.touch(0o600)
        path.write_text("".join("0" if character == "9" else "9" for character in pin.read()))
        yield Secret(file=path)


async def restart(bench: Bench, _: Key) -> str:
    """Kill the process at work."""
    key = bench.usable()
    async with bench.opened(4) as link:
        asked = [link.ask("sign", key.place, key.algorithm, b"%d" % n) for n in range(64)]
        await asked[0]
        os.kill(link.pid, signal.SIGKILL)
        await asyncio.gather(*asked, return_exceptions=True)
    began = time.monotonic()
    async with bench.opened(4) as link:
        await signed(link, key)
        return f"open again after {(time.monotonic() - began) * 1e3:.0f} ms"


async def deadline(bench: Bench, _: Key) -> str:
    """Have the process hang, as a library does that waits for its device; it is ended, and its sessions with it."""
    key, sessions = bench.usable(), 4
    for _again in range(HANGS):
        async with bench.opened(sessions, timeout_seconds=0.5) as link:
            os.kill(link.pid, signal.SIGSTOP)
            began = time.monotonic()
            try:
                await link.ask("sign", key.place, key.algorithm, b"")
            except DeviceFault:
                waited = time.monotonic() - began
    async with bench.opened(sessions) as link:
        await signed(link, key)
    return f"given up after {waited:.1f} s, {HANGS} times"


def _known(key: Key) -> None:
    if not key.kind:
        raise Needless("its public half isn't known")


def _able(key: Key) -> None:
    if not key.signs:
        raise Needless("it doesn't sign")


SCRIPT: Final[Sequence[tuple[str, bool, Check]]] = (
    ("loads", False, loads),
    ("opens", False, opens),
    ("public", True, public),
    ("fields", True, fields),
    ("mechanisms", True, mechanisms),
    ("encoding", True, encoding),
    ("signs", True, signs),
    ("sizes", True, sizes),
    ("distinct", True, distinct),
    ("latency", True, latency),
    ("parallel", True, parallel),
    ("limit", False, limit),
    ("relogin", False, relogin),
    ("wrong-pin", False, wrong_pin),
    ("restart", False, restart),
    ("deadline", False, deadline),
)  # fmt: skip
