"""The inbox: one row per item, one push per group, both in one commit, whatever is repeated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest

from handlers import links
from handlers.commands import NotificationRequested
from handlers.in_app import InAppHandler
from outbox import App, Relay, VirtualClock, publish
from tests.handlers.rows import NOW, mentor, organisation, published

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@dataclass
class Inbox:
    """One database, its relay, and groups made in a few words."""

    conn: psycopg.Connection[Any]
    relay: Relay
    organisation: UUID

    def group(self, recipient: UUID, *items: dict[str, object], status: str = "queued") -> UUID:
        made = uuid4()
        self.conn.execute(
            "insert into public.notification_groups"
            " (id, organisation_id, recipient_id, kind, dedup_key, status)"
            " values (%s, %s, %s, 'cert_expiry_reminder', %s, %s)",
            (made, self.organisation, recipient, str(made), status),
        )
        for position, item in enumerate(items):
            columns = ", ".join(["group_id", "position", *item])
            marks = ", ".join(["%s"] * (2 + len(item)))
            self.conn.execute(
                f"insert into public.notification_items ({columns}) values ({marks})".encode(),
                (made, position, *item.values()),
            )
        return made

    async def ask(self, *groups: UUID) -> None:
        with self.conn.transaction():
            for group in groups:
                publish(self.conn, NotificationRequested(group_id=group))
        await self.relay.drain()

    def rows(self, columns: str, group: UUID) -> list[tuple[Any, ...]]:
        query = (
            f"select {columns} from public.notifications as n"
            " join public.notification_items as i on i.notification_id = n.id"
            " where n.group_id = %s order by i.position"
        )
        return self.conn.execute(query.encode(), (group,)).fetchall()

    def outcomes(self) -> list[tuple[str, str | None]]:
        return self.conn.execute(
            "select outcome, reason from outbox.receipt order by id"
        ).fetchall()

    def pushes(self) -> list[str]:
        return [payload["group_id"] for payload in published(self.conn, "push.requested")]


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as opened:
        yield opened


@pytest.fixture
async def inbox(database: str, conn: psycopg.Connection[Any]) -> AsyncIterator[Inbox]:
    app = App("test", clock=VirtualClock(NOW))
    app.add(InAppHandler().handler())
    relay = Relay(app, database)
    async with relay.opened():
        yield Inbox(conn, relay, organisation(conn, language="en"))


def reminder(mentor_id: UUID, tier: str = "30") -> dict[str, object]:
    kind = "cert_lapsed" if tier == "lapsed" else "cert_expiry_reminder"
    return {
        "mentor_id": mentor_id,
        "kind": kind,
        "tier": tier,
        "certificate_type": "peer_support",
    }


async def test_a_mentors_own_reminder_is_one_row_and_one_push(inbox: Inbox) -> None:
    """NTF-1: the row is there, `pending`, before any push is tried."""
    one = mentor(inbox.conn, inbox.organisation)
    group = inbox.group(one, reminder(one))

    await inbox.ask(group)

    ((id_, recipient, title, body, link, status, created),) = inbox.rows(
        "n.id, n.recipient_id, n.title, n.body, n.deep_link, n.status, n.created_at", group
    )
    assert (recipient, status, created) == (one, "pending", NOW)
    assert title == "Your certificate expires soon"
    assert "30 days" in body
    assert link == links.enrolment(certificate_type="peer_support", tier="30", notification_id=id_)
    assert inbox.pushes() == [str(group)]


async def test_a_coordinators_digest_keeps_one_row_per_mentor(inbox: Inbox) -> None:
    coordinator = uuid4()
    first, second = (mentor(inbox.conn, inbox.organisation) for _ in range(2))
    group = inbox.group(coordinator, reminder(first, "7"), reminder(second, "lapsed"))

    await inbox.ask(group)

    assert inbox.rows("n.mentor_id, n.kind, n.tier, n.deep_link", group) == [
        (
            first,
            "cert_expiry_reminder",
            "7",
            links.coordinator_mentor(first, context=links.CONTEXT_CERT_EXPIRY),
        ),
        (
            second,
            "cert_lapsed",
            "lapsed",
            links.coordinator_mentor(second, context=links.CONTEXT_CERT_EXPIRY),
        ),
    ]
    assert inbox.pushes() == [str(group)]


async def test_asked_twice_it_writes_and_pushes_once(inbox: Inbox) -> None:
    one = mentor(inbox.conn, inbox.organisation)
    group = inbox.group(one, reminder(one))

    await inbox.ask(group, group)
    await inbox.ask(group)

    assert len(inbox.rows("n.id", group)) == 1
    assert inbox.pushes() == [str(group)]
    assert inbox.outcomes() == [
        ("done", None),
        ("suppressed", "already_written"),
        ("suppressed", "already_written"),
    ]


async def test_a_commit_that_fails_leaves_neither_row_nor_push(inbox: Inbox) -> None:
    """The row and the push share the settlement's fate; afterwards both come, once."""
    one = mentor(inbox.conn, inbox.organisation)
    group = inbox.group(one, reminder(one))
    inbox.conn.execute(
        "create function public.refuse() returns trigger language plpgsql as"
        " $$ begin raise exception 'no'; end $$;"
        "create constraint trigger refuse after insert on public.notifications"
        " deferrable initially deferred for each row execute function public.refuse()"
    )

    await inbox.ask(group)
    assert inbox.rows("n.id", group) == []
    assert inbox.pushes() == []

    inbox.conn.execute("drop trigger refuse on public.notifications")
    await inbox.ask(group)
    assert len(inbox.rows("n.id", group)) == 1
    assert inbox.pushes() == [str(group)]


@pytest.mark.parametrize(
    ("kind", "own", "link"),
    [
        ("mentor_paused", False, "peermentor://app/v1/coordinator/mentors/{mentor}?ctx=pause"),
        ("mentor_reactivated", False, "peermentor://app/v1/coordinator/mentors/{mentor}?ctx=pause"),
        ("sync_alert", False, "peermentor://app/v1/coordinator/mentors/{mentor}?ctx=sync"),
        ("scenario_prompt", True, "peermentor://app/v1/prompts/{prompt}?ctx=scenario"),
        ("mentor_reactivated", True, "peermentor://app/v1/courses?ctx=cert_expiry&nid={nid}"),
        ("mentor_paused", True, "peermentor://app/v1/courses?ctx=cert_expiry&nid={nid}"),
    ],
)
async def test_a_tap_opens_what_the_row_is_about(
    inbox: Inbox, kind: str, link: str, *, own: bool
) -> None:
    one, prompt = mentor(inbox.conn, inbox.organisation), uuid4()
    group = inbox.group(
        one if own else uuid4(), {"mentor_id": one, "kind": kind, "prompt_id": prompt}
    )

    await inbox.ask(group)

    ((id_, found),) = inbox.rows("n.id, n.deep_link", group)
    assert found == link.format(mentor=one, prompt=prompt, nid=id_)
    assert links.published(found)


@pytest.mark.parametrize("tier", ["60", "30", "7", "lapsed"])
async def test_every_reminder_of_a_mentor_prompts_to_enrol(inbox: Inbox, tier: str) -> None:
    """LNK-6: each carries the link of its certificate's course, whatever the tier."""
    one = mentor(inbox.conn, inbox.organisation)
    group = inbox.group(one, reminder(one, tier))

    await inbox.ask(group)

    ((id_, found),) = inbox.rows("n.id, n.deep_link", group)
    assert found == links.enrolment(certificate_type="peer_support", tier=tier, notification_id=id_)
    assert found.startswith("peermentor://app/v1/courses/enrol?certificate_type=peer_support&")


async def test_a_link_that_cannot_be_built_falls_back(inbox: Inbox) -> None:
    one = mentor(inbox.conn, inbox.organisation)
    group = inbox.group(one, reminder(one) | {"certificate_type": "Ærlig & ny"})

    await inbox.ask(group)

    ((id_, found),) = inbox.rows("n.id, n.deep_link", group)
    assert found == links.courses(id_)


async def test_a_prompt_learns_its_notification(inbox: Inbox) -> None:
    one, prompt, scenario = mentor(inbox.conn, inbox.organisation), uuid4(), uuid4()
    inbox.conn.execute(
        "insert into public.followup_scenarios (id, code, name, rule) values (%s, 'x', 'x', '{}')",
        (scenario,),
    )
    inbox.conn.execute(
        "insert into public.prompt_history"
        " (id, organisation_id, user_id, scenario_id, activity_ref, mentor_id, due_on)"
        " values (%s, %s, %s, %s, 'a', %s, '2026-03-02')",
        (prompt, inbox.organisation, one, scenario, one),
    )
    group = inbox.group(one, {"mentor_id": one, "kind": "scenario_prompt", "prompt_id": prompt})

    await inbox.ask(group)

    ((id_,),) = inbox.rows("n.id", group)
    assert inbox.conn.execute("select notification_id from public.prompt_history").fetchall() == [
        (id_,)
    ]


async def test_what_is_settled_empty_or_no_item_writes_nothing(inbox: Inbox) -> None:
    one = mentor(inbox.conn, inbox.organisation)
    cancelled = inbox.group(one, reminder(one), status="cancelled")
    digest = inbox.group(one, {"mentor_id": one, "kind": "coordinator_digest"})

    await inbox.ask(cancelled, inbox.group(one), uuid4(), digest)

    assert sorted(inbox.outcomes(), key=str) == [
        ("dead", "item_kind_unknown"),
        ("suppressed", "group_empty"),
        ("suppressed", "group_empty"),
        ("suppressed", "group_settled"),
    ]
    assert inbox.pushes() == []
