"""The kit for tests of an application: the engine step by step, and time that one moves by hand.

`Lab` is for sagas, `OutboxHarness` for whoever wants every claim and settlement in hand.
"""

from outbox.crash_points import CrashPoint
from outbox.testing.clock import ShiftedClock
from outbox.testing.crashes import Crashed, at_point, crash, kill, lease_taker
from outbox.testing.databases import DatabaseServer
from outbox.testing.harness import Lease, OutboxHarness
from outbox.testing.lab import Lab, Life, Line, Said, Trace
from outbox.testing.lab_replies import Call, Crash, Reply
from outbox.testing.published import ANY, Published, assert_published, refute_published

__all__ = [
    "ANY", "Call", "Crash", "CrashPoint", "Crashed", "DatabaseServer", "Lab", "Lease", "Life",
    "Line", "OutboxHarness", "Published", "Reply", "Said", "ShiftedClock", "Trace",
    "assert_published", "at_point", "crash", "kill", "lease_taker", "refute_published",
]  # fmt: skip
