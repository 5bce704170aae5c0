"""Sagas: handlers with memory, decided purely and committed whole."""

from outbox.saga.declaration import Decision, OnMissing, Saga, SagaState, Timer
from outbox.saga.messages import Compensate, DeliveryReport, Report, SkipStep, TimedOut
from outbox.saga.progress import Phase, Progress
from outbox.saga.steps import Flow, Steps

__all__ = [
    "Compensate", "Decision", "DeliveryReport", "Flow", "OnMissing", "Phase", "Progress", "Report",
    "Saga", "SagaState", "SkipStep", "Steps", "TimedOut", "Timer",
]  # fmt: skip
