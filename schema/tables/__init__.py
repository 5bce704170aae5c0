"""The application's tables as SQLAlchemy Core sees them; the migrations are what makes them.

Names, types, nullability and keys agree with the migrated database, which a test compares. Checks,
foreign keys, indexes and policies live in the migrations alone.
"""

from __future__ import annotations

from schema.tables.columns import metadata
from schema.tables.notices import (
    cert_expiry_reminders,
    cert_notification_log,
    feature_flags,
    followup_scenarios,
    notification_groups,
    notification_items,
    notification_policies,
    notifications,
    prompt_history,
    scenario_settings,
)
from schema.tables.operations import (
    audit_log,
    credential_checks,
    dashboard_alerts,
    data_quality_findings,
    job_locks,
    job_requests,
    job_runs,
    reconciliation_items,
    reconciliation_reports,
    widened_reads,
)
from schema.tables.people import (
    activities,
    assignments,
    certifications,
    chapter_memberships,
    chapters,
    device_tokens,
    mentor_status_history,
    organisations,
    peer_mentors,
    portal_sync_state,
    user_roles,
)

__all__ = [
    "activities",
    "assignments",
    "audit_log",
    "cert_expiry_reminders",
    "cert_notification_log",
    "certifications",
    "chapter_memberships",
    "chapters",
    "credential_checks",
    "dashboard_alerts",
    "data_quality_findings",
    "device_tokens",
    "feature_flags",
    "followup_scenarios",
    "job_locks",
    "job_requests",
    "job_runs",
    "mentor_status_history",
    "metadata",
    "notification_groups",
    "notification_items",
    "notification_policies",
    "notifications",
    "organisations",
    "peer_mentors",
    "portal_sync_state",
    "prompt_history",
    "reconciliation_items",
    "reconciliation_reports",
    "scenario_settings",
    "user_roles",
    "widened_reads",
]
