"""Deep links are a published contract, and what cannot be built falls back to its root."""

from __future__ import annotations

from uuid import UUID

import pytest

from handlers import links

ID = UUID("0b6f3a52-6f0e-4b1e-9b0a-3a5f2b1c9d10")


def test_t2_15_an_enrolment_link_has_the_published_form() -> None:
    """T2.15, LNK-1, LNK-2: the exact text, since clients of version 1 parse it."""
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


def _page(template: str, *, certificate_type: str = "peer_mentor") -> str:
    return links.enrolment_page(
        template,
        hosts={"kurs.example.org"},
        certificate_type=certificate_type,
        tier="30",
        notification_id=ID,
    )


def test_an_organisations_own_enrolment_page_is_filled_in() -> None:
    """LNK-5: values are quoted, so that none becomes a part of the address."""
    template = "https://kurs.example.org/{certificate_type}?frist={tier}&nid={nid}"

    assert _page(template) == f"https://kurs.example.org/peer_mentor?frist=30&nid={ID}"
    assert _page(template, certificate_type="a/../b&c=d?#") == (
        f"https://kurs.example.org/a%2F..%2Fb%26c%3Dd%3F%23?frist=30&nid={ID}"
    )


@pytest.mark.parametrize(
    "template",
    [
        "http://kurs.example.org/{nid}",
        "https://elsewhere.example/{nid}",
        "https://kurs.example.org.evil.example/",
        "https://kurs.example.org@evil.example/",
        "https://evil.example@kurs.example.org/",
        "https://kurs.example.org:8443/",
        "https://kurs.example.org/{mentor_name}",
        "https://kurs.example.org/{nid.hex}",
        "https://kurs.example.org/ og mer",
        "https://kurs.example.org/\n",
        "https://[kurs.example.org/",
        "javascript:alert(1)",
        "//kurs.example.org/",
        "https://kurs.example.org/" + "x" * links.ENROLMENT_URL_CHARS_MAX,
        "",
    ],
)
def test_a_template_that_fails_opens_the_root(template: str) -> None:
    """LNK-5, LNK-4: https, a host of the list, nothing left unfilled."""
    assert _page(template) == links.courses(ID)


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
