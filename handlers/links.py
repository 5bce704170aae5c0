"""Deep links into the app: the contract between what we send and the screens that open (LNK-1).

Version 1 is published: a released form is never changed, only a new version added (LNK-2). What
cannot be built falls back to the courses' root with its context (LNK-4), so a tap always opens
something. An organisation's own enrolment page is no link of the app and is judged apart (LNK-5).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection
    from uuid import UUID

BASE = "peermentor://app"
VERSION = "v1"

ROUTE_COURSES = "courses"
ROUTE_ENROL = "courses/enrol"
ROUTE_COORDINATOR_CERTIFICATES = "coordinator/certificates"
ROUTE_COORDINATOR_MENTOR = "coordinator/mentors"
ROUTE_PROMPT = "prompts"

PARAM_CERTIFICATE_TYPE = "certificate_type"
PARAM_CONTEXT = "ctx"
PARAM_TIER = "tier"
PARAM_NOTIFICATION = "nid"
PARAM_RUN = "run"

CONTEXT_CERT_EXPIRY = "cert_expiry"
CONTEXT_PAUSE = "pause"
CONTEXT_SCENARIO = "scenario"
CONTEXT_SYNC = "sync"

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_CODE = r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?"
_TIER = r"(?:[1-9][0-9]{0,2}|lapsed)"

ENROLMENT_URL_CHARS_MAX = 500
"""A longer address would crowd the push, whose size is bounded."""

PATTERN = re.compile(
    rf"peermentor://app/v1/(?:"
    rf"courses/enrol\?certificate_type={_CODE}&ctx=cert_expiry&tier={_TIER}&nid={_UUID}"
    rf"|courses\?ctx=cert_expiry(?:&nid={_UUID})?"
    rf"|coordinator/certificates\?ctx=(?:cert_expiry|pause)(?:&run={_UUID})?"
    rf"|coordinator/mentors/{_UUID}\?ctx=(?:cert_expiry|pause|sync)"
    rf"|prompts/{_UUID}\?ctx=scenario"
    rf")"
)
"""Every link of version 1, whole; what clients of that version open."""


def published(link: str) -> bool:
    """Whether `link` has a published form; asked again before anything is queued (LNK-3)."""
    return PATTERN.fullmatch(link) is not None


def enrolment(*, certificate_type: str | None, tier: str | None, notification_id: UUID) -> str:
    """The course that renews a certificate (LNK-6); the courses' root if it cannot be built."""
    link = _link(
        ROUTE_ENROL,
        {
            PARAM_CERTIFICATE_TYPE: certificate_type or "",
            PARAM_CONTEXT: CONTEXT_CERT_EXPIRY,
            PARAM_TIER: tier or "",
            PARAM_NOTIFICATION: str(notification_id),
        },
    )
    return link if published(link) else courses(notification_id)


def courses(notification_id: UUID | None = None) -> str:
    """The root of course administration, with its context: the fallback (LNK-4)."""
    given = {} if notification_id is None else {PARAM_NOTIFICATION: str(notification_id)}
    return _link(ROUTE_COURSES, {PARAM_CONTEXT: CONTEXT_CERT_EXPIRY, **given})


def enrolment_page(
    template: str,
    *,
    hosts: Collection[str],
    certificate_type: str | None,
    tier: str | None,
    notification_id: UUID | None,
) -> str:
    """An organisation's own enrolment page, from its `template` (LNK-5).

    `{certificate_type}`, `{tier}` and `{nid}` stand for what they say. What does not end as an
    https address of at most 500 characters on one of `hosts` is the courses' root instead.
    """
    given = {"certificate_type": certificate_type, "tier": tier, "nid": notification_id}
    page = template
    for name, value in given.items():
        page = page.replace(f"{{{name}}}", quote(str(value or ""), safe=""))
    return page if _may_be_opened(page, hosts) else courses(notification_id)


def coordinator_certificates(
    run_id: UUID | None = None, *, context: str = CONTEXT_CERT_EXPIRY
) -> str:
    """A coordinator's list of what needs follow-up, narrowed to one run if given."""
    given = {} if run_id is None else {PARAM_RUN: str(run_id)}
    return _link(ROUTE_COORDINATOR_CERTIFICATES, {PARAM_CONTEXT: context, **given})


def coordinator_mentor(mentor_id: UUID, *, context: str) -> str:
    """One mentor as his coordinator sees him; `context` is cert_expiry, pause or sync."""
    return _link(f"{ROUTE_COORDINATOR_MENTOR}/{mentor_id}", {PARAM_CONTEXT: context})


def prompt(prompt_id: UUID) -> str:
    """One scenario prompt."""
    return _link(f"{ROUTE_PROMPT}/{prompt_id}", {PARAM_CONTEXT: CONTEXT_SCENARIO})


_PRINTABLE = re.compile(rf"[!-z|~]{{1,{ENROLMENT_URL_CHARS_MAX}}}")
"""No space, no control character, and no brace left of a template."""


def _may_be_opened(page: str, hosts: Collection[str]) -> bool:
    if not _PRINTABLE.fullmatch(page):
        return False
    try:
        parts = urlsplit(page)
    except ValueError:
        return False
    return parts.scheme == "https" and parts.netloc in hosts


def _link(route: str, parameters: dict[str, str]) -> str:
    return f"{BASE}/{VERSION}/{route}?{urlencode(parameters)}"
