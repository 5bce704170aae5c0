"""The Dataverse table behind the portal, as its Web API speaks of it: pure, no client, no clock.

| answer                                   | meaning                                             |
|------------------------------------------|-----------------------------------------------------|
| 200 to a read                            | `Held`: the row, and the ETag that proves it        |
| 404 with an OData error                  | `Absent`: no row under this key                     |
| 404 that names a segment of the address  | `OurFault`: the table or its key is not there       |
| 201, 204 to a write; 200 with a row      | `Written`                                           |
| 202 to a write                           | `Accepted`: something in between has queued it      |
| 404, 412 to a write, with an OData error | `Moved`: the row changed under us, look again       |
| 401, 403                                 | `Credentials`: no application user, or no privilege |
| 405                                      | `OurFault`                                          |
| anything else                            | as for the webhook (`answers.refusal`)              |

Sources: Microsoft Learn, Dataverse Web API: "Compose HTTP requests and handle errors", "Update and
delete table rows", "Perform conditional operations", "Service protection API limits".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from handlers.portal.answers import (
    Absent,
    Accepted,
    Credentials,
    OurFault,
    Refused,
    Unchanged,
    Unclear,
    refusal,
)
from handlers.portal.wire import StoredVisibility, VersionNumber

_Body = TypeVar("_Body", bound=BaseModel)

if TYPE_CHECKING:
    from datetime import datetime

    from handlers.portal.answers import HttpReply
    from handlers.portal.port import WantedVisibility

TABLE: Final = "hlf_peermentorvisibilities"
KEY: Final = "hlf_mentorref"
VERSION_MAX: Final = 2_147_483_647
"""The most a whole-number column holds."""

SELECTED: Final = "hlf_visible,hlf_visibilityversion,modifiedon"
LISTED: Final = f"{KEY},{SELECTED}"

_NO_SUCH_SEGMENT: Final = frozenset({"0x8006088a", "0x80060888"})
_CODE: Final = re.compile(r"0x[0-9a-fA-F]{8}|[a-z][a-z0-9_]{0,63}")
_HEX_PREFIX: Final = "0x"
_OK, _CREATED, _ACCEPTED, _NO_CONTENT = 200, 201, 202, 204
_NOT_MODIFIED, _NOT_FOUND, _NO_METHOD, _PRECONDITION = 304, 404, 405, 412
_WHO_REFUSES: Final = {401: "no_application_user", 403: "privilege_missing"}


class _Answered(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class VisibilityRow(_Answered):
    """One row; a column that is empty counts as never written: version 0, not visible."""

    etag: Annotated[str, Field(alias="@odata.etag", min_length=1)]
    hlf_visible: bool | None = None
    hlf_visibilityversion: VersionNumber | None = None
    modifiedon: AwareDatetime

    def stored(self, mentor_id: UUID) -> StoredVisibility:
        """The row as the contract tells it. There is no published copy: what is stored is shown."""
        version, visible = self.hlf_visibilityversion or 0, bool(self.hlf_visible)
        return StoredVisibility(
            mentor_id=mentor_id,
            version=version,
            visible=visible,
            stored_at=self.modifiedon,
            published_version=version,
            published_visible=visible,
            published_at=self.modifiedon,
        )


class ListedRow(VisibilityRow):
    """One row of the listing, with the mentor it is about."""

    hlf_mentorref: str


class RowsPage(_Answered):
    """One page; `next_link` is opaque and absent on the last page."""

    value: tuple[ListedRow, ...]
    next_link: Annotated[str | None, Field(alias="@odata.nextLink")] = None


class WhoAmI(_Answered):
    """Who the token stands for; the ids are Dataverse's own."""

    user_id: Annotated[UUID, Field(alias="UserId", strict=False)]


class _ErrorDetail(_Answered):
    code: str = ""


class _Error(_Answered):
    error: _ErrorDetail


@dataclass(frozen=True, slots=True)
class Held:
    """What the table holds of one mentor, and the ETag to write over exactly that."""

    stored: StoredVisibility
    etag: str


@dataclass(frozen=True, slots=True)
class Written:
    """The condition held and the row is as it was sent."""


@dataclass(frozen=True, slots=True)
class Moved:
    """The condition did not hold: the row was created, changed or deleted meanwhile."""


ReadRow: TypeAlias = Held | Absent | Unchanged | Refused
WroteRow: TypeAlias = Written | Moved | Accepted | Refused


def row_path(mentor_id: UUID) -> str:
    """The address of one mentor's row, by its alternate key; a uuid needs no quoting in it."""
    return f"{TABLE}({KEY}='{mentor_id}')"


def columns(wanted: WantedVisibility) -> dict[str, Any]:
    """What a write sends: the whole state, also the columns that do not change.

    Dataverse runs what hangs on a column for every column that is sent. A forced synchronisation
    means exactly that; and a version never goes alone. The key stands in the address only.
    """
    return {
        "hlf_visible": wanted.visible,
        "hlf_visibilityversion": wanted.version,
        "hlf_reason": wanted.reason.value,
        "hlf_effectiveat": wanted.effective_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }


def read_row(reply: HttpReply, mentor_id: UUID, *, now: datetime) -> ReadRow:
    """Read the answer to a GET of one row."""
    if reply.status == _OK:
        row = parsed(VisibilityRow, reply)
        return row if isinstance(row, Unclear) else Held(row.stored(mentor_id), row.etag)
    if reply.status == _NOT_MODIFIED:
        return Unchanged()
    if reply.status == _NOT_FOUND and (code := error_code(reply)) is not None:
        return OurFault(f"table_missing_{code}") if code in _NO_SUCH_SEGMENT else Absent()
    return refused(reply, now=now)


def wrote_row(reply: HttpReply, *, now: datetime) -> WroteRow:
    """Read the answer to a conditional PATCH."""
    status = reply.status
    if status in (_CREATED, _NO_CONTENT):
        return Written()
    if status == _OK:
        row = parsed(VisibilityRow, reply)
        return row if isinstance(row, Unclear) else Written()
    if status == _ACCEPTED:
        return Unclear("html") if reply.is_html else Accepted()
    if status in (_NOT_FOUND, _PRECONDITION) and (code := error_code(reply)) is not None:
        return OurFault(f"table_missing_{code}") if code in _NO_SUCH_SEGMENT else Moved()
    return refused(reply, now=now)


def refused(reply: HttpReply, *, now: datetime) -> Refused:
    """Read an answer that brings no row; the token was accepted elsewhere, so 401 is not it."""
    answer = refusal(reply, now=now)
    code = error_code(reply)
    match answer:
        case Credentials() if code and not code.startswith(_HEX_PREFIX):
            return replace(answer, code=code)
        case Credentials():
            who = _WHO_REFUSES[reply.status]
            return replace(answer, code=f"{who}:{code}" if code else who)
        case OurFault():
            return OurFault(code or f"http_{reply.status}")
        case Unclear() if reply.status == _NO_METHOD:
            return OurFault(code or f"http_{reply.status}")
        case _:
            return answer


def error_code(reply: HttpReply) -> str | None:
    """The code of an OData error, often empty; None: the answer is not Dataverse's own.

    Anything that is no code is dropped: what comes from outside is stored as a code or not at all.
    """
    error = parsed(_Error, reply)
    if isinstance(error, Unclear):
        return None
    code = error.error.code
    return code.lower() if _CODE.fullmatch(code) else ""


def parsed(model: type[_Body], reply: HttpReply) -> _Body | Unclear:
    """Read a body of `model`, or say why it is none."""
    if reply.body is None:
        return Unclear("body_too_large")
    if reply.is_html:
        return Unclear("html")
    try:
        return model.model_validate_json(reply.body)
    except ValidationError:
        return Unclear("body_not_ours")  # pydantic's text would quote the body
