"""A simulated authority: takes messages and answers as customs, a port or a maritime authority would, or worse.

::

    python -m simulators.authority customs.yaml --folder-in DIR --folder-out DIR
    python -m simulators.authority port.yaml --amqp URL --consume QUEUE --publish QUEUE

What each message type is answered with, when and in which form is data: ``customs.yaml``, ``port.yaml``,
``maritime.yaml`` beside this file, or ``./yours.yaml`` (``simulators._authority_rules`` tells how it is written). What
breaks its schema is refused, and where certificates are given, so is what must be signed and isn't by one of them.

It misbehaves where a number in a document asks for it, as a payment sandbox does, or by chance (``--misbehave
KIND[:SHARE]``)::

    kind       number ends in   what happens
    silence    -SILENT          no answer at all
    delay      -LATE            everything comes 20 seconds late
    duplicate  -DUP             each receipt comes twice
    order      -ORDER           the last receipt comes first
    reject     -REJ             it is refused, with a text of real receipts where some are known
    error      -ERR             it can't be processed
    garbage    -GARBAGE         the last receipt is cut short
    unknown    -UNKNOWN         a status that is in no list comes in between

Other endings may ask for another course: ``others`` in the YAML.

The engine is pure: the same message, moment and seed give the same receipts.
模拟监管与港口方：按规则应答，可按要求出错。
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate

from exchange import catalogue
from exchange.errors import ConfigurationError
from exchange.instants import Instant
from exchange.ports import microseconds
from simulators._authority_engine import Authority
from simulators._authority_lines import AmqpLine, FolderLine, Line
from simulators._authority_rules import Rules, load
from simulators._authority_writing import Return
from simulators._misbehaviors import MISBEHAVIORS


def rules_of(name: str) -> Rules:
    """Read the rules of an authority: of ours by their name, others by a path. Raises ConfigurationError or OSError."""
    ours = Path(__file__).parent / name
    return load(ours if "/" not in name and ours.exists() else Path(name))


def serve(authority: Authority, line: Line, now: Callable[[], Instant], stopping: Callable[[], bool]) -> None:
    """Take messages and send what is due, until told to stop; what isn't due by then is never sent."""
    waiting: list[Return] = []
    while not stopping():
        for body in line.take():
            waiting += authority.returns(body, now())
        moment = now()
        for receipt in authority.write([one for one in waiting if one.at <= moment]):
            line.put(receipt)
        waiting = [one for one in waiting if one.at > moment]
        line.rest()


def _share(text: str) -> tuple[str, float]:
    kind, _, share = text.partition(":")
    if kind not in MISBEHAVIORS or not 0 <= float(share or 1) <= 1:
        raise argparse.ArgumentTypeError(f"write KIND or KIND:SHARE, SHARE 0 to 1, KIND {', '.join(MISBEHAVIORS)}")
    return kind, float(share or 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("simulators.authority", description="A simulated authority · 模拟监管与港口方")
    option = parser.add_argument
    option("rules", metavar="YAML", help="customs.yaml, port.yaml, maritime.yaml, or ./yours.yaml · 应答规则")
    option("--folder-in", type=Path, help="take messages from this directory · 从该目录取报文")
    option("--folder-out", type=Path, help="put receipts there · 回执写入该目录")
    option(
        "--amqp", metavar="URL", help="or use a broker; log in as SIMULATOR_USER, SIMULATOR_PASSWORD · 或使用消息队列"
    )
    option("--consume", metavar="QUEUE", help="take messages from this queue · 从该队列取报文")
    option("--publish", metavar="QUEUE", help="put receipts there · 回执写入该队列")
    option("--certificate", type=Path, action="append", default=[], metavar="PEM", help="of a signer · 签名证书")
    option("--misbehave", type=_share, action="append", default=[], metavar="KIND[:SHARE]",
           help=f"of a share of documents: {', '.join(MISBEHAVIORS)} · 按比例出错")  # fmt: skip
    option("--pace", type=float, default=1.0, help="stretch every delay; 0: at once · 时延倍率")
    option("--window", type=float, default=0.0, metavar="SECONDS", help="join what is due within · 合并时间窗")
    option("--batch", type=int, default=100, metavar="N", help="records in one file at most · 每个文件的最多记录数")
    option("--later", action="store_true", help="send tax bills and results of summaries, too · 另发税单和汇总结果")
    option("--seed", type=int, default=0, help="for what happens by chance · 随机种子")
    return parser


def _line(arguments: argparse.Namespace) -> Line:
    if arguments.amqp and arguments.consume and arguments.publish:
        return AmqpLine(arguments.amqp, arguments.consume, arguments.publish)
    if arguments.folder_in and arguments.folder_out:
        return FolderLine(arguments.folder_in, arguments.folder_out)
    sys.exit("give --folder-in and --folder-out, or --amqp, --consume and --publish · 请给出目录或队列")


def _der(path: Path) -> bytes:
    return load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


def _authority(arguments: argparse.Namespace) -> Authority:
    return Authority(
        rules=rules_of(arguments.rules),
        types=catalogue.load(),
        certificates=[_der(path) for path in arguments.certificate],
        shares=dict(arguments.misbehave),
        seed=arguments.seed,
        pace=arguments.pace,
        window_seconds=arguments.window,
        batch=arguments.batch,
        later=arguments.later,
    )


def main() -> None:
    """Answer until SIGTERM or SIGINT."""
    arguments = _parser().parse_args()
    try:
        authority = _authority(arguments)
    except (ConfigurationError, OSError) as why:
        sys.exit(str(why))
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stopped.append(received))
    try:
        serve(authority, _line(arguments), microseconds, lambda: bool(stopped))
    except ConnectionError as why:
        sys.exit(str(why))


if __name__ == "__main__":
    main()
