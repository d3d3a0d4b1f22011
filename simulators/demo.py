"""The demonstration (``make run``): a real switch, simulated authorities, and five enterprises that use them.

::

    python -m simulators.demo [--once] [--folder DIR]

Everything happens in one folder and on loopback, with keys that are made on the spot. With ``--once`` it ends by
itself: status 0 where every sample reached the state it must reach, with the receipt where its sender looks for it.
演示：真实的交换机，模拟的海关、码头与海事，五家虚构企业；全部在一个临时目录和本机回环地址上运行。
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from shlex import quote
from typing import Final

from attrs import frozen

from simulators._demo_clients import LOST
from simulators._demo_lives import Lives
from simulators._demo_play import Play
from simulators._demo_processes import Children, Interrupt
from simulators._demo_samples import samples
from simulators._demo_screen import Screen, screen
from simulators._demo_site import AGENT_KEY, HOST, ROOT, Site, prepare

TICK_SECONDS: Final = 0.15
INTERRUPTED: Final = 130
SWITCHD: Final = ("-c", "from exchange.switchd import main; main()", "--config", "switchd.yaml")
AUTHORITIES: Final = ("customs", "terminal", "maritime")  # as their folders are called
RULES: Final = {"terminal": "port"}  # and their rules, where otherwise
WINDOW: Final = ("--window", "0.4")  # one file of customs' may then answer several enterprises


@frozen
class Demonstration:
    """Everything that one run needs."""

    site: Site
    children: Children
    screen: Screen
    interrupt: Interrupt
    until: float  # when samples must be through, in monotonic seconds

    def start(self, misbehave: Sequence[str]) -> Lives | None:
        """Start the switch and the authorities; return who looks at lives, or None where we were interrupted."""
        self.children.start("switchd", SWITCHD)
        for _ in self.ticks(self.until, 0.05):
            with suppress(OSError):  # not there yet
                lives = Lives(self.site)
                if lives.ready():
                    self._start_authorities(misbehave)
                    return lives
        if not self.interrupt:
            raise RuntimeError("the switch wasn't ready in time · 启动超时")
        return None

    def _start_authorities(self, misbehave: Sequence[str]) -> None:
        signers = [part for name in self.site.signers for part in ("--certificate", str(self.site.certificate(name)))]
        faults = [part for kind in misbehave for part in ("--misbehave", kind)]
        for name in AUTHORITIES:
            folders = ("--folder-in", f"{name}/in", "--folder-out", f"{name}/out")
            more = (*WINDOW, *signers, *faults) if name == "customs" else ()
            rules = f"{RULES.get(name, name)}.yaml"
            self.children.start(name, ("-m", "simulators.authority", rules, *folders, *more))

    def play(self, lives: Lives, play: Play) -> None:
        """Let the enterprises send their samples until all is over."""
        if AGENT_KEY not in self.site.signers:
            self.screen.say("No SM2 here (it takes the openssl program) · 本机无 SM2，略去国密样例")
        for _ in self.ticks(self.until, TICK_SECONDS):
            seen = lives.look()
            self.screen.show(seen)
            if play.is_over():
                break
            play.turn(seen)
        self.screen.say(play.summary())

    def stay(self, lives: Lives) -> None:
        """Show what else happens, until interrupted."""
        self.screen.say(_where_next(self.site))
        lines = self.screen.lines()
        for _ in self.ticks(float("inf"), 0.5):
            lines.show(lives.look())

    def ticks(self, until: float, pause_seconds: float) -> Iterator[None]:
        """Go on until a moment, or until interrupted. Raises RuntimeError where a child has ended."""
        while not self.interrupt and time.monotonic() < until:
            self.children.require()
            yield
            time.sleep(pause_seconds)


def _run(demonstration: Demonstration, once: bool, misbehave: Sequence[str]) -> int:
    """Play it through; return the exit status."""
    site = demonstration.site
    with closing(Play(site, samples(site.doors, site.signers))) as play:
        try:
            lives = demonstration.start(misbehave)
            if lives is not None:
                demonstration.play(lives, play)
            if demonstration.interrupt or lives is None:
                return INTERRUPTED
            if once:
                return int(bool(play.missing()))
            demonstration.stay(lives)
        except LOST:
            time.sleep(1.0)  # for a child that is just ending, whose last words say more
            demonstration.children.require()
            raise
    return 0


def _where_next(site: Site) -> str:
    control = f"{quote(_short(ROOT / 'bin' / 'switchctl'))} --socket {quote(str(site.control))}"
    key = site.doors["pay-https"].key
    curl = f"curl --cacert {_quoted(site, 'keys', 'ca.crt')} -H 'Authorization: Bearer {key}'"
    api = f"https://{HOST}:{site.ports['https']}/v1"
    known = f"-o UserKnownHostsFile={_quoted(site, 'known_hosts')} -P {site.ports['sftp']}"
    return f"""
Where to look next · 接下来看什么
  the switch     {control} status
  a message      {control} message list | message show ID | message search KEY
  receipts       ls {_quoted(site, "boxes", "demo-shop", "InBox")}    回执
  refusals       ls {_quoted(site, "boxes", "demo-shop", "FailBox")}    被拒报文的全部错误
  by SFTP        sftp -i {_quoted(site, "keys", "sftp_ed25519")} {known} demo-shop@{HOST}
  HTTPS mailbox  {curl} '{api}/receipts?after=0'
  HTTPS intake   {curl} --data-binary @FILE {api}/messages
  metrics        curl http://{HOST}:{site.ports["metrics"]}/metrics
  log            {_quoted(site, "switchd.log")}
  routes         {_quoted(site, "routes.yaml")}    路由表，注释即说明
Ctrl-C ends it. · 按 Ctrl-C 结束。
"""


def _quoted(site: Site, *parts: str) -> str:
    return quote(str(site.folder.joinpath(*parts)))


def _short(path: Path) -> str:
    """Write a path as short as it can be typed here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("simulators.demo", description="Show the switch at work · 演示交换机")
    option = parser.add_argument
    option("--once", action="store_true", help="end by itself; status 0 if all went well · 运行一遍后退出")
    option("--folder", type=Path, help="an empty folder to work in, which is kept · 工作目录（须为空，结束后保留）")
    option("--seconds", type=float, default=60.0, help="that the samples may take (60) · 样例的时限")
    option("--customs-misbehave", action="append", default=[], metavar="KIND[:SHARE]",
           help="see python -m simulators.authority --help · 让模拟海关出错")  # fmt: skip
    return parser


def main() -> None:
    """Run the demonstration; exit with 0, with 1 where a sample went astray, or with 130 where interrupted."""
    arguments = _parser().parse_args()
    until, interrupt, shown = time.monotonic() + arguments.seconds, Interrupt(), screen()
    shown.say("A message switch, simulated authorities and five enterprises · 交换机、模拟监管与港口方及五家虚构企业")
    with ExitStack() as stack:
        try:
            folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="switch-")))
            site = prepare(folder)
            children = stack.enter_context(Children(site.folder))
            demonstration = Demonstration(site, children, shown, interrupt, until)
            status = _run(demonstration, arguments.once, arguments.customs_misbehave)
        except (*LOST, RuntimeError, ValueError) as why:
            shown.say(str(why))
            status = 1
    sys.exit(status)


if __name__ == "__main__":
    main()
