"""Pushes through the application's own handler, beside firebase-admin on the same emulator."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.emulators import emulated
from bench.environments import ROOT, Environment, NotInstalled
from bench.figures import Figure, Gathered
from bench.scenarios.night import all_due, sow
from handlers.settings import ApplicationSettings
from outbox import Relay
from sagas.app import build_app
from sagas.nightly import nightly
from sagas.wiring import night_wiring

if TYPE_CHECKING:
    from bench.figures import Scale
    from bench.ground import Ground

FIREBASE = Environment("firebase-admin", ("firebase-admin==7.7.0",))
_SLOW_SECONDS = 0.3
_PER_CALL = 500
_WARM_UP = 200
_SECONDS_MAX = 120


async def push(ground: Ground, scale: Scale) -> list[Figure]:
    """Pushes that wait are drained by the `fcm` handler alone, from the relay's start to the last.

    Each is an ambiguous call with its receipt and its inbox written; the emulator is a process of
    its own. firebase-admin sends as many messages, 500 a call, and writes nothing anywhere.
    """
    got = Gathered("push")
    with emulated(_SLOW_SECONDS) as settings:
        for _ in range(scale.runs):
            took, count = await _drained(ground, settings, scale.recipients, in_flight=10)
            name = f"{scale.recipients} recipients at 300 ms"
            got.add(name, took, "s", pushes=count, in_flight=10, floor_seconds=count * 0.3 / 10)
    with emulated(0.0) as settings:
        for _ in range(scale.runs):
            took, count = await _drained(ground, settings, scale.recipients_at_once, in_flight=100)
            got.add("ours at 0 ms, 100 in flight", count / took, "pushes/s", pushes=count)
            try:
                rate = _firebase(settings, scale.recipients_at_once)
            except NotInstalled as why:
                got.lacks("firebase-admin send_each_async", "not installed", str(why))
                continue
            got.add("firebase-admin send_each_async", rate, "pushes/s", per_call=_PER_CALL)
    ratio = got.ratio(
        "ours / firebase-admin", "ours at 0 ms, 100 in flight", "firebase-admin send_each_async"
    )
    return got.figures(*ratio)


async def _drained(
    ground: Ground, settings: dict[str, Any], recipients: int, *, in_flight: int
) -> tuple[float, int]:
    """Seconds for the pushes of a night whose own push drain was left out, and how many."""
    app = build_app(ApplicationSettings(**settings, fcm_concurrency=in_flight))
    with ground.fresh(application=True) as dsn:
        # their coordinator is the last of the recipients
        await sow(app, dsn, lambda now: all_due(recipients - 1, now))
        wiring = night_wiring(app, dsn, lambda _stage, _facts: None)
        report = await nightly(replace(wiring, push_handlers=("in_app",)))
        if report.failures:
            raise RuntimeError(f"the night failed: {dict(report.failures)}")
        relay = Relay(app, dsn, only=("fcm",))
        async with relay.opened():
            began = time.perf_counter()
            tried = await relay.drain(overlapping=True)
            took = time.perf_counter() - began
    if tried != recipients:
        raise RuntimeError(f"{tried} pushes for {recipients} recipients")
    return took, tried


def _firebase(settings: dict[str, Any], count: int) -> float:
    """Messages per second. Raises `NotInstalled`."""
    if not FIREBASE.ready:
        FIREBASE.make()
    terms = {
        "account": settings["fcm_service_account_json"], "base_url": settings["fcm_base_url"],
        "count": count, "per_call": _PER_CALL, "warm_up": _WARM_UP,
    }  # fmt: skip
    done = subprocess.run(
        [str(FIREBASE.python), "-m", "bench.peers.push_firebase"],
        cwd=ROOT, input=json.dumps(terms) + "\n", capture_output=True, text=True, check=False,
        timeout=_SECONDS_MAX,
    )  # fmt: skip
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            answer = json.loads(line.removeprefix("RESULT "))
            if answer["sent"] != count:
                raise RuntimeError(f"firebase-admin sent {answer['sent']} of {count}")
            return float(answer["sent"] / answer["seconds"])
    print(done.stderr[-1000:], file=sys.stderr)
    raise RuntimeError("firebase-admin gave no result")
