"""The surface in front of the whole application, asked as people ask: over HTTP, with tokens.

Its sessions log in as `peermentor_api`, the role without rights of its own, so that what works here
works with those rights and no others.
"""

from __future__ import annotations

import re
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

import httpx
import jwt
import psycopg
from pydantic import SecretStr

from sagas.http.api import build_api
from sagas.http.settings import ApiSettings
from tests.end_to_end.scene import Scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from fastapi import FastAPI

SECRET: Final = "a-secret-of-the-tests-that-is-long-enough"  # noqa: S105 - signs nothing anywhere else
HOOK_SECRET: Final = "what-the-webhook-sends-along-with-its-row"  # noqa: S105 - as above
ISSUER: Final = "https://project.example/auth/v1"
_PASSWORD: Final = "of-the-tests"  # noqa: S105 - of a database that lives as long as a test
AUDIT: Final = "public.audit_log"
"""The one table that may grow by what is refused."""
_HOUR: Final = 3_600
_PART: Final = r"\{[^}]+\}"


def token(user: UUID | None, *, secret: str = SECRET, alg: str = "HS256", **claims: Any) -> str:
    """A person's token; `user` None is the service role's. `claims` replace, None takes away."""
    whole = {
        "iss": ISSUER,
        "aud": "authenticated",
        "exp": int(time.time()) + _HOUR,
        "role": "service_role" if user is None else "authenticated",
        "sub": None if user is None else str(user),
        "email": "marker@example.org",
        **claims,
    }
    kept = {name: value for name, value in whole.items() if value is not None}
    return jwt.encode(kept, secret, algorithm=alg)


def settings(**changes: Any) -> ApiSettings:
    """Settings that read neither environment nor file."""
    given: dict[str, Any] = {
        "api_jwt_secret": SecretStr(SECRET),
        "api_jwks_url": None,
        "api_jwt_issuer": ISSUER,
        "api_jwt_audience": "authenticated",
        "api_hook_secret": SecretStr(HOOK_SECRET),
        "api_connections": 4,
        **changes,
    }
    return ApiSettings.model_construct(**given)


def login(dsn: str) -> str:
    """The address of the database for the login of the surface."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(f"alter role peermentor_api password '{_PASSWORD}'".encode())
    parts = urlsplit(dsn)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"peermentor_api:{_PASSWORD}@{place}"))


@dataclass
class Front:
    """The surface and what stands behind it."""

    scene: Scene
    api: FastAPI
    http: httpx.AsyncClient

    @classmethod
    @asynccontextmanager
    async def of(cls, dsn: str) -> AsyncIterator[Front]:
        """Open the surface on a migrated database."""
        async with Scene.on(dsn) as scene:
            api = build_api(scene.stage.app, settings(), login(dsn))
            transport = httpx.ASGITransport(api, raise_app_exceptions=False)
            async with (
                api.router.lifespan_context(api),
                httpx.AsyncClient(transport=transport, base_url="http://surface") as http,
            ):
                yield cls(scene, api, http)

    async def ask(
        self,
        method: str,
        path: str,
        user: UUID | None = None,
        *,
        json: Any = None,
        bearer: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Ask as `user`, or with a token of one's own; the answer is held to the document."""
        given = token(user) if bearer is None else bearer
        answer = await self.http.request(
            method, path, json=json, headers={"Authorization": f"Bearer {given}", **(headers or {})}
        )
        self.documented(method, answer)
        return answer

    def documented(self, method: str, answer: httpx.Response) -> None:
        """Fail if the OpenAPI document does not name this status and form for an endpoint."""
        paths = self.api.openapi()["paths"]
        asked = answer.request.url.path
        for path in sorted(paths, key=lambda one: -len(re.sub(_PART, "", one))):
            form = "[^/]+".join(map(re.escape, re.split(_PART, path)))
            if re.fullmatch(form, asked) and method.lower() in paths[path]:
                told = paths[path][method.lower()]["responses"]
                assert str(answer.status_code) in told, f"{method} {path}: {answer.status_code}"
                kind = answer.headers.get("content-type", "").partition(";")[0]
                assert kind in (told[str(answer.status_code)].get("content") or {"": None})
                return

    async def tables(self, *but: str) -> dict[str, int]:
        """A fingerprint of what every table of application and engine holds."""
        names = await self.scene.world.rows(
            "select quote_ident(schemaname) || '.' || quote_ident(tablename) as name from pg_tables"
            " where schemaname in ('public', 'app', 'outbox') order by 1"
        )
        found = {}
        for row in names:
            if row["name"] not in but:
                found[row["name"]] = await self.scene.world.value(
                    f"select coalesce(sum(hashtext(t::text)::bigint), 0) from {row['name']} as t"
                )
        return found
