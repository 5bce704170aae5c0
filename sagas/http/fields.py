"""Fields that several endpoints take: bounded, and of characters that the database can hold."""

from typing import Annotated
from uuid import UUID

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, StringConstraints

PAGE_MAX = 200

Line = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00]*$"),
]
"""A sentence somebody wrote."""

Address = Annotated[str, StringConstraints(min_length=1, max_length=4_096, pattern=r"^[!-~]+$")]
"""The address of a device: printable ASCII without blanks."""

Code = Annotated[str, StringConstraints(max_length=64, pattern=r"^[a-z0-9_]+$")]
"""A word of a fixed list that programs know."""

MentorId = Annotated[UUID, Path(description="The mentor.")]
Before = Annotated[
    UUID | None, Query(description="The last id of the page before; nothing for the first page.")
]
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX, description="Most entries of the page.")]


class Given(BaseModel):
    """A body: what it does not name is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Told(BaseModel):
    """An answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)
