"""The program: ``bin/switchd`` reads the settings, installs the reactor and runs the daemon until a signal ends it."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.internet import asyncioreactor
from twisted.internet.defer import Deferred

from exchange import observability
from exchange.errors import ConfigurationError, ExchangeError
from exchange.ports import microseconds
from exchange.service import Daemon
from exchange.settings import Installation
from exchange.settings import load as load_settings


def main() -> None:
    """Run the daemon: ``switchd [--config FILE]``."""
    parser = argparse.ArgumentParser("switchd", description="Run the switch in the foreground until SIGTERM.")
    parser.add_argument("--config", type=Path, help="switchd.yaml (default: the one here, or every default)")
    arguments = parser.parse_args()
    loop = _install_reactor()  # before the settings are read: that loads adapters, and Conch imports the reactor
    try:
        installation = load_settings(arguments.config)
    except ConfigurationError as why:
        sys.exit(_configuration_problem(why))
    sys.exit(_run(installation, loop))


def _install_reactor() -> asyncio.AbstractEventLoop:
    loop = _new_loop()
    asyncio.set_event_loop(loop)
    install: Any = asyncioreactor.install
    install(loop)
    return loop


def _run(installation: Installation, loop: asyncio.AbstractEventLoop) -> int:
    """Run the reactor until the daemon has stopped; return the exit status."""
    from twisted.internet import reactor as installed

    reactor: Any = installed
    settings = installation.settings
    log = observability.configure(settings.log.level, settings.log.file and installation.path(settings.log.file))
    daemon = Daemon(installation, reactor, microseconds, log)
    status: list[int] = []

    async def start() -> None:
        try:
            await daemon.start()
            loop.add_signal_handler(signal.SIGHUP, lambda: asyncio.ensure_future(daemon.reload()))
        except ConfigurationError as why:
            status.append(_configuration_problem(why))
            reactor.stop()
        except (ExchangeError, OSError) as why:
            log.error("switch.failed", error=str(why))
            if settings.log.file:  # which who starts it by hand doesn't see
                print(why, file=sys.stderr)
            status.append(75)
            reactor.stop()

    reactor.callWhenRunning(lambda: asyncio.ensure_future(start()))
    reactor.addSystemEventTrigger(
        "before", "shutdown", lambda: Deferred.fromFuture(asyncio.ensure_future(daemon.stop()))
    )
    reactor.run()
    return status[0] if status else 0


def _new_loop() -> asyncio.AbstractEventLoop:
    """Return uvloop's event loop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def _configuration_problem(why: ConfigurationError) -> int:
    for problem in why.problems:
        print(problem, file=sys.stderr)
    return 78  # EX_CONFIG
