"""Run the commands of a page, in order, as a reader would: ``python -m docs.run docs/how-to/edit-routes.md``.

A ``console`` block is run, and what stands below a command must be what it prints (``...`` stands for anything); a
block whose first line is a comment that names a file is written to that file; a block of anything else is a mistake,
unless a comment right above it says ``not run:`` and why. Comments say more::

    <!-- starts in: office -->        the page finds the installation of the tutorial, running
    <!-- starts with: a broker -->    and a RabbitMQ at port 5672
    <!-- needs: systemd-analyze -->   above a block: left out where there is no such program
    <!-- run ... -->                  commands that readers don't see, one a line

Everything happens in a temporary folder that looks like this checkout, on free ports of 127.0.0.1.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import field, frozen

ROOT: Final = Path(__file__).resolve().parent.parent
TUTORIAL: Final = ROOT / "docs" / "tutorials" / "first-message.md"
OFFICE: Final = "<!-- the office is ready -->"  # in the tutorial: what stands above it makes the installation
PORTS: Final = ("2222", "8443", "8444", "9464", "5672", "7001", "7002")  # in pages; really others are used
SECONDS: Final = 20.0  # that one command may take, or a look be repeated
LOOKS: Final = re.compile(  # commands that may be repeated until they print what the page says
    r"switchctl [\w -]*?(status|list|show|search|history|diff)\b|ls |cat |tail |grep |find |curl (?!.*--data)"
)
START: Final = r"""
export SWITCHCTL_SOCKET="$PWD/var/switchctl.sock"
switchd &
../.venv/bin/python -m simulators.authority customs.yaml \
    --folder-in customs/in --folder-out customs/out --pace 0.2 > customs.log 2>&1 &
for _ in {1..200}; do curl -sf http://127.0.0.1:9464/readyz && break; sleep 0.1; done
curl -sf http://127.0.0.1:9464/readyz"""
IN_OFFICE: Final = "<!-- starts in: office -->"
WITH_BROKER: Final = "<!-- starts with: a broker -->"
_PART: Final = re.compile(r"(?P<fence>^```.*?^```$)|<!--\s(?P<comment>.*?)\s-->|(?P<text>\S)", re.MULTILINE | re.DOTALL)
_FENCE: Final = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
_FILE: Final = re.compile(r"(?:#|<!--) ([\w./-]+)(?: -->)?\n")


@frozen
class Step:
    """One thing to do: a command with what it must print, or a file to write."""

    command: str = ""
    output: str = ""
    fails: bool = False  # its exit status isn't to be 0; the next command shows it
    path: str = ""
    body: str = ""


@frozen
class Block:
    """A fenced block, and the comment right above it."""

    language: str
    body: str
    comment: str = ""


def blocks(text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page, each with the comment right above it; hidden commands are blocks, too."""
    comment = ""
    for part in _PART.finditer(text):
        if part["comment"] is not None:
            comment = part["comment"]
            if comment.startswith("run\n"):
                yield Block("console", "".join(f"$ {line}\n" for line in comment.splitlines()[1:]))
        else:
            if part["fence"] and (found := _FENCE.fullmatch(part["fence"])):
                yield Block(found[1], found[2], comment)
            comment = ""


def missing(text: str) -> list[str]:
    """Return the programs that blocks of a page need, and that aren't here."""
    needed = [block.comment.removeprefix("needs: ") for block in blocks(text) if block.comment.startswith("needs: ")]
    return [name for name in needed if not shutil.which(name)]


def steps(text: str) -> list[Step]:
    """Return what a page has its reader do, in order. Raises ValueError for a block that nobody would run."""
    found: list[Step] = []
    absent = missing(text)
    for block in blocks(text):
        if block.comment.startswith("not run: ") or block.comment.removeprefix("needs: ") in absent:
            continue
        if block.language == "console" and block.body.startswith("$ "):
            found += _commands(block.body)
        elif named := _FILE.match(block.body):
            found.append(Step(path=named[1], body=block.body.partition("\n")[2]))
        else:
            raise ValueError(f"this block is neither run nor written nor excused:\n{block.body}")
    return found


def _commands(body: str) -> Iterator[Step]:
    parts = [part.split("\n") for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]]
    for number, lines in enumerate(parts):
        command = [lines.pop(0)]
        while lines and lines[0].startswith("> "):
            command.append(lines.pop(0)[2:])
        following = parts[number + 1][0] if number + 1 < len(parts) else ""
        yield Step("\n".join(command), "\n".join(lines).strip("\n"), following.strip() == "echo $?")


# -- running -----------------------------------------------------------------------------------------------------


@frozen
class Shell:
    """A bash that keeps its folder, variables and background jobs from one command to the next."""

    folder: Path
    ports: Mapping[str, str]
    process: subprocess.Popen[bytes] = field(init=False)

    @process.default
    def _start(self) -> subprocess.Popen[bytes]:
        environment = os.environ | {"LC_ALL": "C.UTF-8", "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}
        return subprocess.Popen(
            ["bash", "--noprofile", "--norc"], cwd=self.folder, env=environment, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):  # bash and everything it started: a session of its own
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(0.2)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        self.process.communicate()

    def do(self, step: Step) -> str:
        """Take a step; return what is wrong with it, or nothing."""
        if step.path:
            path = Path(self.ask("pwd")[0].strip(), step.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_with(self.ports, step.body), "utf-8")
            return ""
        deadline = time.monotonic() + SECONDS
        while True:
            printed, status = self.ask(step.command)
            if bool(status) is step.fails and (not step.output or agrees(step.output, printed)):
                return ""
            if not LOOKS.match(step.command) or time.monotonic() > deadline:
                return f"$ {step.command}\nstatus {status}, printed:\n{printed}\ninstead of:\n{step.output}"
            time.sleep(0.3)

    def ask(self, command: str) -> tuple[str, int]:
        """Run a command; return what it printed and its exit status. Raises TimeoutError."""
        mark, script = f"--{secrets.token_hex(8)}--", self.folder / ".command"
        script.write_text(_with(self.ports, command) + "\n", "utf-8")
        assert self.process.stdin is not None  # noqa: S101
        line = f". {script} < /dev/null; s=$?; printf '\\n{mark}%s\\n' $s; (exit $s)\n"
        self.process.stdin.write(line.encode())
        self.process.stdin.flush()
        printed, _, status = self._read_until(mark).rpartition(mark)
        documented = {real: port for port, real in self.ports.items()}
        return _with(documented, printed).removesuffix("\n"), int(status)

    def _read_until(self, mark: str) -> str:
        assert self.process.stdout is not None  # noqa: S101
        read, deadline = b"", time.monotonic() + 3 * SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not re.search(mark.encode() + rb"\d+\n$", read):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError(f"no end after {3 * SECONDS:.0f} seconds: {read.decode(errors='replace')}")
                read += os.read(self.process.stdout.fileno(), 65536)
        return read.decode(errors="replace").replace("\r\n", "\n")


def agrees(expected: str, printed: str) -> bool:
    r"""Tell whether what was printed is what the page says; ``...`` is anything, runs of blanks are one.

    >>> agrees("a  ...\nlast", "a b\nc\nlast"), agrees("a", "a\nb")
    (True, False)
    """
    pattern = ".*?".join(re.escape(_squeezed(part)) for part in expected.split("..."))
    return re.fullmatch(pattern, _squeezed(printed).strip(), re.DOTALL) is not None


def _squeezed(text: str) -> str:
    return re.sub(r" *\n *", "\n", re.sub(r" +", " ", text))


def free_ports() -> dict[str, str]:
    """Return a free port for each of those that stand in pages, none of which a client is given by chance."""
    free = (str(port) for port in random.sample(range(10_000, 32_000), 1000) if _is_free(port))
    return dict(zip(PORTS, free, strict=False))


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def broker_port() -> str:
    """Start the tests' RabbitMQ, once, and return its port; it ends with this process."""
    from tests.live import rabbitmq

    return str(rabbitmq.shared().port)


def copy_checkout(folder: Path) -> None:
    """Make *folder* look like this checkout, for commands that only add to it."""
    folder.mkdir(parents=True)
    for path in ROOT.iterdir():
        if path.name not in (".git", "build", "office", "var"):
            (folder / path.name).symlink_to(path)


def make_office(folder: Path) -> None:
    """Set up the tutorial's installation in ``office`` below *folder*. Raises AssertionError where a command fails."""
    copy_checkout(folder)
    with Shell(folder, {}) as shell:
        _run(shell, steps(TUTORIAL.read_text("utf-8").partition(OFFICE)[0]))


def run_page(page: Path, office: Path, ports: Mapping[str, str], folder: Path) -> None:
    """Run a page in *folder*, which is made; *office* is where ``make_office`` made one.

    Raises AssertionError with the first command that doesn't do what the page says.
    """
    text = page.read_text("utf-8")
    todo = steps(text)
    if IN_OFFICE in text:
        shutil.copytree(office, folder, symlinks=True)
        for path in (folder / "office").iterdir():
            if path.is_file():
                path.write_text(_with(ports, path.read_text("utf-8")), "utf-8")
        todo = [Step("cd office"), Step(START), *todo]
    else:
        copy_checkout(folder)
    with Shell(folder, ports) as shell:
        _run(shell, todo)


def ports_for(page: Path) -> dict[str, str]:
    """Return the ports that stand in a page, and those really used; starts the broker where it needs one."""
    broker = {"5672": broker_port()} if WITH_BROKER in page.read_text("utf-8") else {}
    return free_ports() | broker


def _with(ports: Mapping[str, str], text: str) -> str:
    """Return *text* with other ports."""
    return re.sub(r"\b\d{4,5}\b", lambda found: ports.get(found[0], found[0]), text)


def _run(shell: Shell, todo: Sequence[Step]) -> None:
    for step in todo:
        if wrong := shell.do(step):
            raise AssertionError(wrong)


def main() -> None:
    """Run the pages that are named."""
    with tempfile.TemporaryDirectory(prefix="docs-") as name:
        home = Path(name)
        make_office(home / "office")
        for number, page in enumerate(map(Path, sys.argv[1:])):
            began = time.monotonic()
            run_page(page, home / "office", ports_for(page), home / str(number))
            without = "".join(f", without {name}" for name in missing(page.read_text("utf-8")))
            print(f"{page}: good ({time.monotonic() - began:.1f} s{without})")


if __name__ == "__main__":
    main()
