"""Real peers, started when the first test asks, for the whole run."""

from __future__ import annotations

import pytest

from tests.live import rabbitmq as _rabbitmq


@pytest.fixture(scope="session")
def rabbitmq() -> _rabbitmq.Broker:
    """A real RabbitMQ, which other suites share."""
    return _rabbitmq.shared()
