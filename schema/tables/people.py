"""Organisations, mentors, their certificates and what the portal knows of them."""

from __future__ import annotations

from sqlalchemy import UUID, BigInteger, Boolean, Column, Date, Identity, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from schema.tables.columns import INSTANT, NOW, RANDOM_ID, metadata

organisations = Table(
    "organisations",
    metadata,
    Column("id", UUID, primary_key=True, server_default=RANDOM_ID),
    Column("code", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("timezone", Text, nullable=False, server_default=text("'Europe/Oslo'")),
    Column("visibility_channel", Text, nullable=False, server_default=text("'none'")),
    Column("go_live_date", Date),
    Column("auto_reactivate_on_renewal", Boolean, nullable=False, server_default=text("true")),
    Column("language", Text, nullable=False, server_default=text("'nb'")),
    Column("enrolment_url_template", Text),
)

chapters = Table(
    "chapters",
    metadata,
    Column("id", UUID, primary_key=True, server_default=RANDOM_ID),
    Column("organisation_id", UUID, nullable=False),
    Column("name", Text, nullable=False),
)

peer_mentors = Table(
    "peer_mentors",
    metadata,
    Column("id", UUID, primary_key=True, server_default=RANDOM_ID),
    Column("organisation_id", UUID, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'active'")),
    Column("paused_at", INSTANT),
    Column("pause_reason", Text),
    Column("pause_source", Text),
    Column("suppression_status", Text, nullable=False, server_default=text("'none'")),
    Column("certification_expiry_date", Date),
    Column("visible_until", INSTANT),
    Column("visibility_version", BigInteger, nullable=False, server_default=text("0")),
    Column("visibility_changed_at", INSTANT),
    Column("visibility_effective_at", INSTANT),
    Column("visibility_reason", Text),
)

chapter_memberships = Table(
    "chapter_memberships",
    metadata,
    Column("mentor_id", UUID, primary_key=True),
    Column("chapter_id", UUID, primary_key=True),
    Column("active", Boolean, nullable=False, server_default=text("true")),
)

user_roles = Table(
    "user_roles",
    metadata,
    Column("id", UUID, primary_key=True, server_default=RANDOM_ID),
    Column("user_id", UUID, nullable=False),
    Column("organisation_id", UUID, nullable=False),
    Column("chapter_id", UUID),
    Column("role", Text, nullable=False),
    Column("active", Boolean, nullable=False, server_default=text("true")),
)

assignments = Table(
    "assignments",
    metadata,
    Column("mentor_id", UUID, primary_key=True),
    Column("coordinator_id", UUID, primary_key=True),
    Column("active", Boolean, nullable=False, server_default=text("true")),
)

certifications = Table(
    "certifications",
    metadata,
    Column("id", UUID, primary_key=True, server_default=RANDOM_ID),
    Column("mentor_id", UUID, nullable=False),
    Column("certificate_type", Text, nullable=False),
    Column("expiry_date", Date),
    Column("issued_on", Date),
    Column("required", Boolean, nullable=False, server_default=text("true")),
    Column("revoked_at", INSTANT),
)

device_tokens = Table(
    "device_tokens",
    metadata,
    Column("id", UUID, primary_key=True, server_default=RANDOM_ID),
    Column("user_id", UUID, nullable=False),
    Column("address", Text, nullable=False),
    Column("address_kind", Text, nullable=False, server_default=text("'token'")),
    Column("platform", Text),
    Column("last_seen_at", INSTANT, nullable=False, server_default=NOW),
    Column("invalidated_at", INSTANT),
    Column("invalid_reason", Text),
)

activities = Table(
    "activities",
    metadata,
    Column("id", UUID, primary_key=True, server_default=RANDOM_ID),
    Column("mentor_id", UUID, nullable=False),
    Column("kind", Text, nullable=False),
    Column("occurred_at", INSTANT, nullable=False),
    Column("flags", JSONB, nullable=False, server_default=text("'{}'")),
    Column("contact_ref", UUID),
)

portal_sync_state = Table(
    "portal_sync_state",
    metadata,
    Column("mentor_id", UUID, primary_key=True),
    Column("accepted_version", BigInteger),
    Column("accepted_at", INSTANT),
    Column("acked_version", BigInteger, nullable=False, server_default=text("0")),
    Column("acked_visible", Boolean),
    Column("acked_at", INSTANT),
    Column("observed_version", BigInteger),
    Column("observed_visible", Boolean),
    Column("observed_published", Boolean),
    Column("observed_at", INSTANT),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("last_attempt_at", INSTANT),
    Column("last_code", Text),
    Column("last_request_id", Text),
    Column("raised_on", Date),
)

mentor_status_history = Table(
    "mentor_status_history",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("mentor_id", UUID, nullable=False),
    Column("organisation_id", UUID, nullable=False),
    Column("from_status", Text, nullable=False),
    Column("to_status", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("certification_id", UUID),
    Column("certification_expiry_date", Date),
    Column("reason", Text),
    Column("actor_id", UUID),
    Column("run_id", UUID),
    Column("visibility_version", BigInteger, nullable=False),
    Column("at", INSTANT, nullable=False),
)
