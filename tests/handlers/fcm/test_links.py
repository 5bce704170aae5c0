"""Deep links are a published contract, and what cannot be built falls back to its root."""

from __future__ import annotations

from uuid import UUID

import pytest

from handlers import links

ID = UUID("0b6f3a52-6f0e-4b1e-9b0a-3a5f2b1c9d10")


def test_t2_15_an_enrolment_link_has_the_published_form() -> None:
    """T2.15, LNK-2: the exact text, since clients of version 1 parse it."""
    link = links.enrolment(certificate_type="peer_mentor", tier="30", notification_id=ID)

    assert link == (
        "peermentor://app/v1/courses/enrol"
        f"?certificate_type=peer_mentor&ctx=cert_expiry&tier=30&nid={ID}"
    )
    assert links.published(link)


@pytest.mark.parametrize(
    ("certificate_type", "tier"),
    [
        (None, "30"),
        ("", "30"),
        ("Peer Mentor", "30"),
        ("a&b=c", "30"),
        ("ok", None),
        ("ok", "soon"),
    ],
)
def test_t2_15_what_cannot_be_built_opens_the_root_with_its_context(
    certificate_type: str | None, tier: str | None
) -> None:
    """T2.15, LNK-4."""
    link = links.enrolment(certificate_type=certificate_type, tier=tier, notification_id=ID)

    assert link == f"peermentor://app/v1/courses?ctx=cert_expiry&nid={ID}"
    assert links.published(link)


@pytest.mark.parametrize(
    "link",
    [
        links.courses(),
        links.coordinator_certificates(),
        links.coordinator_certificates(ID, context=links.CONTEXT_PAUSE),
        links.coordinator_mentor(ID, context=links.CONTEXT_CERT_EXPIRY),
        links.coordinator_mentor(ID, context=links.CONTEXT_PAUSE),
        links.coordinator_mentor(ID, context=links.CONTEXT_SYNC),
        links.prompt(ID),
    ],
)
def test_every_builder_builds_a_published_form(link: str) -> None:
    """LNK-3."""
    assert links.published(link)


@pytest.mark.parametrize(
    "link",
    [
        "https://app/v1/courses?ctx=cert_expiry",
        "peermentor://app/v2/courses?ctx=cert_expiry",
        "peermentor://app/v1/courses?ctx=cert_expiry\n",
        "peermentor://app/v1/courses?ctx=cert_expiry&extra=1",
        "",
    ],
)
def test_nothing_else_is_published(link: str) -> None:
    assert not links.published(link)
