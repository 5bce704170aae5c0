"""Runs, locks, alerts, findings, reports, credential checks and the audit log."""

from __future__ import annotations

from sqlalchemy import UUID, BigInteger, Boolean, Column, Identity, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from schema.tables.columns import INSTANT, NOW, RANDOM_ID, metadata

job_runs = Table(
    "job_runs",
    metadata,
    Column("id", UUID, primary_key=True, server_default=RANDOM_ID),
    Column("job_name", Text, nullable=False),
    Column("organisation_id", UUID),
    Column("as_of", INSTANT),
    Column("started_at", INSTANT, nullable=False, server_default=NOW),
    Column("finished_at", INSTANT),
    Column("status", Text, nullable=False, server_default=text("'running'")),
    Column("summary", JSONB, nullable=False, server_default=text("'{}'")),
    Column("error_class", Text),
)

job_locks = Table(
    "job_locks",
    metadata,
    Column("job_name", Text, primary_key=True),
    Column("holder", UUID, nullable=False),
    Column("acquired_at", INSTANT, nullable=False, server_default=NOW),
    Column("lease_until", INSTANT, nullable=False),
)

job_requests = Table(
    "job_requests",
    metadata,
    Column("job_name", Text, primary_key=True),
    Column("requested_at", INSTANT, nullable=False),
    Column("requested_by", UUID),
)

dashboard_alerts = Table(
    "dashboard_alerts",
    metadata,
    Column("id", UUID, primary_key=True, server_default=RANDOM_ID),
    Column("type", Text, nullable=False),
    Column("organisation_id", UUID),
    Column("chapter_id", UUID),
    Column("mentor_id", UUID),
    Column("subject", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("severity", Text, nullable=False, server_default=text("'warning'")),
    Column("opened_at", INSTANT, nullable=False, server_default=NOW),
    Column("due_at", INSTANT),
    Column("escalated_at", INSTANT),
    Column("resolved_at", INSTANT),
    Column("resolved_by", UUID),
    Column("resolution_note", Text),
    Column("hint", Text),
)

data_quality_findings = Table(
    "data_quality_findings",
    metadata,
    Column("id", UUID, primary_key=True, server_default=RANDOM_ID),
    Column("kind", Text, nullable=False),
    Column("organisation_id", UUID, nullable=False),
    Column("chapter_id", UUID),
    Column("mentor_id", UUID),
    Column("subject", Text, nullable=False),
    Column("step", Integer),
    Column("detail", JSONB, nullable=False, server_default=text("'{}'")),
    Column("found_at", INSTANT, nullable=False, server_default=NOW),
    Column("last_seen_at", INSTANT, nullable=False, server_default=NOW),
    Column("resolved_at", INSTANT),
)

reconciliation_reports = Table(
    "reconciliation_reports",
    metadata,
    Column("id", UUID, primary_key=True, server_default=RANDOM_ID),
    Column("organisation_id", UUID, nullable=False),
    Column("run_id", UUID),
    Column("dry_run", Boolean, nullable=False, server_default=text("false")),
    Column("started_at", INSTANT, nullable=False, server_default=NOW),
    Column("finished_at", INSTANT),
    Column("complete", Boolean, nullable=False, server_default=text("false")),
    Column("totals", JSONB, nullable=False, server_default=text("'{}'")),
    Column("repaired", Integer, nullable=False, server_default=text("0")),
    Column("duplicates", JSONB, nullable=False, server_default=text("'[]'")),
    Column("unknown_pushes", Integer, nullable=False, server_default=text("0")),
    Column("failed_pushes", Integer, nullable=False, server_default=text("0")),
    Column("open_alerts", Integer, nullable=False, server_default=text("0")),
    Column("credential_status", JSONB, nullable=False, server_default=text("'{}'")),
)

reconciliation_items = Table(
    "reconciliation_items",
    metadata,
    Column("report_id", UUID, primary_key=True),
    Column("mentor_id", UUID, primary_key=True),
    Column("verdict", Text, nullable=False),
    Column("our_version", BigInteger),
    Column("our_visible", Boolean),
    Column("portal_version", BigInteger),
    Column("portal_visible", Boolean),
    Column("published_visible", Boolean),
    Column("lag_seconds", BigInteger),
    Column("action", Text, nullable=False, server_default=text("'none'")),
    Column("event_id", BigInteger),
)

credential_checks = Table(
    "credential_checks",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("integration", Text, nullable=False),
    Column("checked_at", INSTANT, nullable=False, server_default=NOW),
    Column("outcome", Text, nullable=False),
    Column("reason", Text),
    Column("hint", Text),
    Column("run_id", UUID),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", INSTANT, nullable=False, server_default=NOW),
    Column("actor_id", UUID),
    Column("actor_role", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("organisation_id", UUID),
    Column("mentor_id", UUID),
    Column("subject", JSONB, nullable=False, server_default=text("'{}'")),
    Column("reason", Text),
    Column("before", JSONB),
    Column("after", JSONB),
    Column("request_id", Text),
)

widened_reads = Table(
    "widened_reads",
    metadata,
    Column("mentor_id", UUID, primary_key=True),
    Column("actor_id", UUID, primary_key=True),
    Column("hour", INSTANT, primary_key=True),
    Column("first_read_at", INSTANT, nullable=False, server_default=NOW),
    Column("organisation_id", UUID, nullable=False),
    Column("actor_role", Text, nullable=False),
    Column("reason", Text, nullable=False),
)
