"""A person's inbox and devices: own rows alone, written by functions alone (NTF-3, VIS-5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

if TYPE_CHECKING:
    from tests.http.front import Front


async def told(front: Front, *, days: int = 30) -> tuple[UUID, UUID]:
    """A mentor who was reminded this night, and his coordinator."""
    organisation = await front.scene.world.organisation()
    found = await front.scene.followed_mentor(organisation, days=days)
    await front.scene.night()
    return found


async def inbox(front: Front, user: UUID, query: str = "") -> dict[str, Any]:
    answer = await front.ask("GET", f"/me/notifications{query}", user)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


async def test_each_reads_the_own_inbox(front: Front) -> None:
    """NTF-1, LNK-6: what the night told him, with the link that renews."""
    mentor, coordinator = await told(front)

    (mine,) = (await inbox(front, mentor))["items"]
    (theirs,) = (await inbox(front, coordinator))["items"]

    assert (mine["kind"], mine["tier"], mine["status"]) == (
        "cert_expiry_reminder",
        "30",
        "delivered",
    )
    assert mine["deep_link"].startswith("peermentor://app/v1/courses/enrol?")
    assert (theirs["kind"], theirs["mentor_id"]) == ("cert_expiry_reminder", str(mentor))
    assert (await inbox(front, uuid4()))["items"] == []


async def test_an_inbox_is_read_in_pages(front: Front) -> None:
    """Each row once, the newest first, however many came in one commit."""
    user, organisation = uuid4(), await front.scene.world.organisation()
    await front.scene.world.conn.execute(
        "insert into notifications (organisation_id, recipient_id, kind, title, body,"
        " idempotency_key, created_at) select %s, %s, 'sync_alert', n::text, 'b', n::text,"
        " now() - (n / 2) * interval '1 hour' from generate_series(1, 7) as n",
        [organisation.id, user],
    )
    seen, before = [], ""
    while True:
        page = await inbox(front, user, f"?limit=3{before}")
        seen += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        before = f"&before={page['next']}"

    assert len(seen) == len(set(seen)) == 7
    assert (await inbox(front, user, f"?before={uuid4()}"))["items"] == []


async def test_a_notification_is_read_once_and_by_its_owner(front: Front) -> None:
    mentor, coordinator = await told(front)
    ((mine,), (theirs,)) = [(await inbox(front, who))["items"] for who in (mentor, coordinator)]

    for _ in range(2):
        answer = await front.ask("POST", f"/me/notifications/{mine['id']}/read", mentor)
        assert (answer.status_code, answer.content) == (204, b"")
    foreign = await front.ask("POST", f"/me/notifications/{theirs['id']}/read", mentor)

    assert foreign.status_code == 404
    assert foreign.json()["code"] == "not_found"
    assert (await inbox(front, mentor, "?unread=true"))["items"] == []
    assert (await inbox(front, coordinator))["items"][0]["read_at"] is None


async def test_a_device_reaches_who_signed_in_last(front: Front) -> None:
    """A phone that changed hands: the one before hears nothing more on it (PUSH-8)."""
    before, after = uuid4(), uuid4()
    device = {"address": "phone-1", "platform": "android"}
    first = await front.ask("PUT", "/me/devices", before, json=device)
    await front.scene.world.conn.execute(
        "update device_tokens set invalidated_at = now(), invalid_reason = 'unregistered'"
    )
    second = await front.ask("PUT", "/me/devices", after, json=device)

    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()
    rows = await front.scene.world.rows(
        "select user_id, address_kind, platform, invalidated_at, last_seen_at from device_tokens"
    )
    assert rows == [
        {
            "user_id": after,
            "address_kind": "token",
            "platform": "android",
            "invalidated_at": None,
            "last_seen_at": front.scene.world.now,
        }
    ]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"address": ""},
        {"address": "a b"},
        {"address": "a\u0000b"},
        {"address": "x" * 4_097},
        {"address": "ok", "platform": "fridge"},
        {"address": "ok", "user_id": str(uuid4())},
        [],
        None,
    ],
)
async def test_what_is_not_valid_is_named_and_not_quoted(front: Front, body: Any) -> None:
    """P12: the answer says where and by which rule."""
    answer = await front.ask("PUT", "/me/devices", uuid4(), json=body)

    assert answer.status_code == 422
    problem = answer.json()
    assert (problem["code"], problem["title"]) == ("not_valid", "Unprocessable Content") or (
        problem["code"],
        problem["title"],
    ) == ("not_valid", "Unprocessable Entity")
    assert all(set(place) == {"at", "rule"} for place in problem["errors"])
    assert "fridge" not in answer.text
    assert await front.scene.world.value("select count(*) from device_tokens") == 0


async def test_a_service_has_no_inbox(front: Front) -> None:
    answer = await front.ask("GET", "/me/notifications")

    assert (answer.status_code, answer.json()["code"]) == (403, "persons_only")


async def test_a_body_is_bounded_whatever_it_says_of_its_length(front: Front) -> None:
    async def chunks() -> Any:
        for _ in range(70):
            yield b"x" * 1_024

    from tests.http.front import token  # noqa: PLC0415 - used here alone

    head = {"Authorization": f"Bearer {token(uuid4())}", "Content-Type": "application/json"}
    for content in (b"x" * 70_000, chunks()):
        answer = await front.http.put("/me/devices", content=content, headers=head)
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"


async def test_each_answer_carries_the_id_of_its_request(front: Front) -> None:
    given = await front.ask("GET", "/me/notifications", uuid4(), headers={"X-Request-ID": "abc-1"})
    made = await front.ask("GET", "/me/notifications", headers={"X-Request-ID": "no\tid of ours"})

    assert given.headers["x-request-id"] == "abc-1"
    assert made.headers["x-request-id"] == made.json()["request_id"] != "no\tid of ours"
