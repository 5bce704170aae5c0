"""One database for these tests, emptied between them; the brokers of the environment."""

from __future__ import annotations

import gc
import os
import warnings
from typing import TYPE_CHECKING

import pytest

os.environ.setdefault("dramatiq_restart_delay", "300")  # ms; read when dramatiq is imported

from outbox.transport.brokers import BrokerAddress
from tests.outbox.conftest import database, rows, shop_database

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["database", "rows", "shop_database"]

BROKERS = {"rabbitmq": "OUTBOX_TEST_RABBITMQ_URL", "redis": "OUTBOX_TEST_REDIS_URL"}


def broker_url(kind: str) -> str:
    """The broker's address; without one the test is skipped, and fails where CI must have it."""
    name = BROKERS[kind]
    found = os.environ.get(name)
    if found:
        return found
    if os.environ.get("CI"):
        pytest.fail(f"{name} is not set, and here the tests on brokers must run")
    pytest.skip(f"{name} is not set: no {kind} to test on")


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.broker) for kind in BROKERS])
def address(request: pytest.FixtureRequest) -> Iterator[BrokerAddress]:
    """Each broker in turn. What pika leaves open of connections that broke is closed here."""
    yield BrokerAddress.of(broker_url(request.param))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
