"""The kit for tests of an application: the engine step by step, and time that one moves by hand."""

from outbox.testing.clock import ShiftedClock
from outbox.testing.harness import Lease, OutboxHarness

__all__ = ["Lease", "OutboxHarness", "ShiftedClock"]
