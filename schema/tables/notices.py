"""Policies, reminders, groups, the notification log, the inbox and prompts."""

from __future__ import annotations

from sqlalchemy import ARRAY, UUID, Boolean, Column, Date, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from schema.tables.columns import INSTANT, NOW, RANDOM_ID, metadata

notification_policies = Table(
    "notification_policies",
    metadata,
    Column("organisation_id", UUID, primary_key=True),
    Column("audience", Text, primary_key=True),
    Column("thresholds", ARRAY(Integer), nullable=False),
    Column("lapsed", Boolean, nullable=False, server_default=text("true")),
    Column("cadence", Text, nullable=False, server_default=text("'once_per_tier'")),
    Column("per_run_date_tiers", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("grouping", Text, nullable=False, server_default=text("'per_run'")),
    Column("in_doubt", Text, nullable=False, server_default=text("'hold'")),
    Column("lapsed_lookback_days", Integer, nullable=False, server_default=text("30")),
    Column("guard_hours", Integer, nullable=False, server_default=text("20")),
    Column("updated_at", INSTANT, nullable=False, server_default=NOW),
    Column("updated_by", UUID),
)

feature_flags = Table(
    "feature_flags",
    metadata,
    Column("organisation_id", UUID, primary_key=True),
    Column("flag", Text, primary_key=True),
    Column("enabled", Boolean, nullable=False, server_default=text("false")),
    Column("expires_at", INSTANT),
    Column("reason", Text),
    Column("changed_by", UUID),
    Column("changed_at", INSTANT, nullable=False, server_default=NOW),
)

cert_expiry_reminders = Table(
    "cert_expiry_reminders",
    metadata,
    Column("id", UUID, primary_key=True, server_default=RANDOM_ID),
    Column("organisation_id", UUID, nullable=False),
    Column("audience", Text, nullable=False),
    Column("mentor_id", UUID, nullable=False),
    Column("certification_id", UUID, nullable=False),
    Column("certificate_type", Text, nullable=False),
    Column("threshold_day", Integer, nullable=False),
    Column("threshold_tier", Text, nullable=False),
    Column("certification_expiry_date", Date, nullable=False),
    Column("notification_window_start", Date, nullable=False),
    Column("notification_window_date", Date, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'claimed'")),
    Column("run_id", UUID),
    Column("created_at", INSTANT, nullable=False, server_default=NOW),
)

notification_groups = Table(
    "notification_groups",
    metadata,
    Column("id", UUID, primary_key=True, server_default=RANDOM_ID),
    Column("organisation_id", UUID, nullable=False),
    Column("recipient_id", UUID, nullable=False),
    Column("kind", Text, nullable=False),
    Column("run_id", UUID),
    Column("dedup_key", Text, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'queued'")),
    Column("resent", Boolean, nullable=False, server_default=text("false")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("error_class", Text),
    Column("created_at", INSTANT, nullable=False, server_default=NOW),
    Column("settled_at", INSTANT),
)

notification_items = Table(
    "notification_items",
    metadata,
    Column("id", UUID, primary_key=True, server_default=RANDOM_ID),
    Column("group_id", UUID, nullable=False),
    Column("position", Integer, nullable=False),
    Column("mentor_id", UUID, nullable=False),
    Column("kind", Text, nullable=False),
    Column("tier", Text),
    Column("certificate_type", Text),
    Column("certification_id", UUID),
    Column("certification_expiry_date", Date),
    Column("reminder_id", UUID),
    Column("notification_id", UUID),
    Column("reason", Text),
    Column("scenario_id", UUID),
    Column("prompt_id", UUID),
)

cert_notification_log = Table(
    "cert_notification_log",
    metadata,
    Column("id", UUID, primary_key=True, server_default=RANDOM_ID),
    Column("organisation_id", UUID, nullable=False),
    Column("reminder_id", UUID, nullable=False),
    Column("audience", Text, nullable=False),
    Column("recipient_id", UUID, nullable=False),
    Column("recipient_step", Integer),
    Column("channel", Text, nullable=False, server_default=text("'push'")),
    Column("mentor_id", UUID, nullable=False),
    Column("cert_id", UUID, nullable=False),
    Column("certificate_type", Text, nullable=False),
    Column("threshold_days", Integer, nullable=False),
    Column("threshold_tier", Text, nullable=False),
    Column("certification_expiry_date", Date, nullable=False),
    Column("notification_window_date", Date, nullable=False),
    Column("date_sent", Date),
    Column("status", Text, nullable=False, server_default=text("'queued'")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("run_attempts", Integer, nullable=False, server_default=text("0")),
    Column("error_class", Text),
    Column("dispatch_group_id", UUID),
    Column("run_id", UUID),
    Column("created_at", INSTANT, nullable=False, server_default=NOW),
    Column("updated_at", INSTANT, nullable=False, server_default=NOW),
    Column("settled_at", INSTANT),
)

notifications = Table(
    "notifications",
    metadata,
    Column("id", UUID, primary_key=True, server_default=RANDOM_ID),
    Column("organisation_id", UUID, nullable=False),
    Column("recipient_id", UUID, nullable=False),
    Column("kind", Text, nullable=False),
    Column("tier", Text),
    Column("mentor_id", UUID),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("deep_link", Text),
    Column("status", Text, nullable=False, server_default=text("'pending'")),
    Column("group_id", UUID),
    Column("idempotency_key", Text, nullable=False),
    Column("read_at", INSTANT),
    Column("created_at", INSTANT, nullable=False, server_default=NOW),
)

followup_scenarios = Table(
    "followup_scenarios",
    metadata,
    Column("id", UUID, primary_key=True, server_default=RANDOM_ID),
    Column("code", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("rule", JSONB, nullable=False),
    Column("created_at", INSTANT, nullable=False, server_default=NOW),
    Column("updated_at", INSTANT, nullable=False, server_default=NOW),
)

scenario_settings = Table(
    "scenario_settings",
    metadata,
    Column("organisation_id", UUID, primary_key=True),
    Column("scenario_id", UUID, primary_key=True),
    Column("enabled", Boolean, nullable=False, server_default=text("false")),
    Column("enabled_at", INSTANT),
    Column("changed_by", UUID),
    Column("changed_at", INSTANT, nullable=False, server_default=NOW),
)

prompt_history = Table(
    "prompt_history",
    metadata,
    Column("id", UUID, primary_key=True, server_default=RANDOM_ID),
    Column("organisation_id", UUID, nullable=False),
    Column("user_id", UUID, nullable=False),
    Column("scenario_id", UUID, nullable=False),
    Column("activity_ref", Text, nullable=False),
    Column("mentor_id", UUID, nullable=False),
    Column("due_on", Date, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'claimed'")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("error_class", Text),
    Column("group_id", UUID),
    Column("notification_id", UUID),
    Column("run_id", UUID),
    Column("claimed_at", INSTANT, nullable=False, server_default=NOW),
    Column("settled_at", INSTANT),
    Column("runs", Integer, nullable=False, server_default=text("1")),
)
