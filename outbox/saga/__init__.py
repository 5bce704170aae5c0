"""Sagas: handlers with memory, decided purely and committed whole."""

from outbox.saga.declaration import (
    Decision,
    DeliveryReport,
    Report,
    Saga,
    SagaState,
    TimedOut,
    Timer,
)

__all__ = ["Decision", "DeliveryReport", "Report", "Saga", "SagaState", "TimedOut", "Timer"]
