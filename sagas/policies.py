"""The policies organisations run on: read for a run or a person, and changed by administrators.

Changes own their transaction: give an idle connection. A refusal is audited and committed before
`Forbidden` is raised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

from handlers.commands import AlertClose, AlertOpen
from outbox import apublish
from sagas import audit, queries_access, queries_policies
from sagas.audit import AuditEntry
from sagas.coordinator import Forbidden
from sagas.operator import OF_ONE_ORGANISATION
from sagas.policy import (
    DEFAULTS,
    PER_ORG_THRESHOLDS,
    SETTINGS,
    InvalidPolicy,
    effective,
    policy_from_row,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from psycopg import AsyncConnection

    from handlers.texts import Audience
    from sagas.policy import Policy
    from sagas.run import Organisation, RunContext

log = structlog.get_logger("sagas")

ALERT: Final = "invalid_policy"
WHO_MAY: Final = "an administrator of the organisation"


class UnknownOrganisation(LookupError):
    """There is no such organisation. Nothing was changed."""

    def __init__(self, organisation: object) -> None:
        super().__init__(f"there is no organisation {organisation}")
        self.organisation = organisation


@dataclass(frozen=True, slots=True)
class Standing:
    """How one audience of an organisation stands.

    `in_force` is what runs go by; `own` what the organisation configured, valid or not (None:
    nothing); `overrides` whether the flag lets it take effect; `refused` why it does not, if it
    should and cannot.
    """

    audience: Audience
    in_force: Policy
    own: Mapping[str, Any] | None
    overrides: bool
    refused: InvalidPolicy | None

    def as_json(self) -> dict[str, Any]:
        """The standing as one JSON document."""
        return {
            "audience": self.audience.value,
            "in_force": self.in_force.as_json(),
            "own": None if self.own is None else dict(self.own),
            "overrides": self.overrides,
            "refused": None if self.refused is None else self.refused.rule,
        }


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """What a change of settings led to; `before` None: there was nothing of its own."""

    before: Mapping[str, Any] | None
    after: Policy
    overrides: bool
    """Whether it takes effect: the organisation's flag `per_org_thresholds` is on."""


async def in_force(
    conn: AsyncConnection[Any], organisation: Organisation, run: RunContext
) -> Mapping[Audience, Policy]:
    """The policy in force for each audience; an invalid one means defaults and an alert.

    The alert closes with the first run that finds nothing wrong any more.
    """
    policies: dict[Audience, Policy] = {}
    rows = await queries_policies.policy_rows(conn, organisation.id, now=run.now)
    for audience, row in rows.items():
        found = effective(audience, row.own, overrides=row.overrides)
        policies[audience] = found.policy
        if found.refused is not None:
            log.error(
                "policy.refused",
                organisation=organisation.code,
                audience=audience.value,
                rule=found.refused.rule,
            )
            await _alert(conn, organisation.id, audience)
        elif row.alerted:
            await _end_alert(conn, organisation.id, audience)
    return policies


async def standings(
    conn: AsyncConnection[Any], organisation_id: UUID, *, now: datetime
) -> dict[Audience, Standing]:
    """How every audience of an organisation stands; one nobody knows stands on the defaults."""
    rows = await queries_policies.policy_rows(conn, organisation_id, now=now)
    found = {
        audience: effective(audience, row.own, overrides=row.overrides)
        for audience, row in rows.items()
    }
    return {
        audience: Standing(
            audience, found[audience].policy, row.own, row.overrides, found[audience].refused
        )
        for audience, row in rows.items()
    }


async def set_policy(  # noqa: PLR0913 - one change, all of it named
    conn: AsyncConnection[Any],
    *,
    organisation_id: UUID,
    audience: Audience,
    values: Mapping[str, object],
    actor_id: UUID,
    now: datetime,
    request_id: str | None = None,
) -> PolicyChange:
    """Change some or all settings of one audience; what `values` leaves out stays as it is.

    What never was set is taken from the defaults. Audited with the settings before and after.
    Raises `InvalidPolicy` (nothing is changed), `Forbidden` or `UnknownOrganisation`.
    """
    strange = sorted(values.keys() - {*SETTINGS})
    if strange:
        raise InvalidPolicy(rule=f"the settings are {', '.join(SETTINGS)}", given=strange)
    desk = _Desk(conn, organisation_id, actor_id, now, request_id)
    action, subject = "policy.set", {"audience": audience.value}
    async with conn.transaction():
        role = await desk.role()
        if role is not None:
            row = (await queries_policies.policy_rows(conn, organisation_id, now=now))[audience]
            kept = row.own or DEFAULTS[audience].as_json()
            policy = policy_from_row(audience, {**kept, **values})
            await queries_policies.put_policy(
                conn, organisation_id, policy, actor_id=actor_id, now=now
            )
            if row.alerted:
                await _end_alert(conn, organisation_id, audience)
            await desk.record(action, role, subject, row.own, policy.as_json())
            return PolicyChange(row.own, policy, row.overrides)
        await desk.record(action, audit.NO_ROLE, subject, None, {"outcome": "refused"})
    raise Forbidden(what=f"a change of policy {audience.value}", who_may=WHO_MAY)


async def set_overrides(  # noqa: PLR0913 - one switch, all of it named
    conn: AsyncConnection[Any],
    *,
    organisation_id: UUID,
    enabled: bool,
    actor_id: UUID,
    now: datetime,
    reason: str | None = None,
    request_id: str | None = None,
) -> bool:
    """Let an organisation's own policies take effect, or not (CFG-3); whether that is a change.

    Audited. Raises `Forbidden` or `UnknownOrganisation`.
    """
    desk = _Desk(conn, organisation_id, actor_id, now, request_id)
    action, subject = "policy.overrides", {"flag": PER_ORG_THRESHOLDS}
    async with conn.transaction():
        role = await desk.role()
        if role is not None:
            before = await queries_policies.put_flag(
                conn, organisation_id, PER_ORG_THRESHOLDS,
                enabled=enabled, reason=reason, actor_id=actor_id, now=now,
            )  # fmt: skip
            await desk.record(
                action, role, subject, {"enabled": before}, {"enabled": enabled}, reason
            )
            return before != enabled
        await desk.record(action, audit.NO_ROLE, subject, None, {"outcome": "refused"})
    raise Forbidden(what="switching the organisation's own policies", who_may=WHO_MAY)


@dataclass(frozen=True, slots=True)
class _Desk:
    """One person before the settings of one organisation."""

    conn: AsyncConnection[Any]
    organisation_id: UUID
    actor_id: UUID
    now: datetime
    request_id: str | None

    async def role(self) -> str | None:
        """Take the settings in hand; the role that lets the actor change them, if one does."""
        found = await queries_policies.lock_configuration(self.conn, self.organisation_id)
        if found is None:
            raise UnknownOrganisation(self.organisation_id)
        role = await queries_access.widest_role(
            self.conn, self.actor_id, organisation_id=self.organisation_id
        )
        return role if role in OF_ONE_ORGANISATION else None

    async def record(  # noqa: PLR0913, PLR0917 - the columns of one row
        self,
        action: str,
        role: str,
        subject: Mapping[str, Any],
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any],
        reason: str | None = None,
    ) -> None:
        """Append what was done or refused."""
        entry = AuditEntry(
            at=self.now,
            action=action,
            actor_id=self.actor_id,
            actor_role=role,
            organisation_id=self.organisation_id,
            subject=subject,
            reason=reason,
            before=before,
            after=after,
            request_id=self.request_id,
        )
        await audit.record(self.conn, entry)


async def _alert(conn: AsyncConnection[Any], organisation_id: UUID, audience: Audience) -> None:
    alert = AlertOpen(
        type=ALERT,
        organisation_id=organisation_id,
        mentor_id=None,
        subject=audience.value,
        severity="warning",
    )
    await apublish(conn, alert, key=_key(organisation_id, audience))


async def _end_alert(conn: AsyncConnection[Any], organisation_id: UUID, audience: Audience) -> None:
    ended = AlertClose(type=ALERT, organisation_id=organisation_id, subject=audience.value)
    await apublish(conn, ended, key=_key(organisation_id, audience))


def _key(organisation_id: UUID, audience: Audience) -> str:
    """Opening and closing go in their order."""
    return f"policy:{organisation_id}:{audience.value}"
