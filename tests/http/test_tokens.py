"""Whose token is believed, and that no other is (SEC-2, VIS-4)."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr, ValidationError

from outbox.errors import ConfigurationError
from sagas.app import build_app
from sagas.http.api import build_api
from sagas.http.keys import KeysUnavailable, PublishedKeySet
from sagas.http.settings import ApiSettings
from sagas.http.tokens import Caller, Role, TokenRefused, Verifier
from tests.http.front import ISSUER, SECRET, settings, token

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.http.front import Front

USER = UUID("00000000-0000-0000-0000-00000000000a")
SHARED = Verifier(ISSUER, "authenticated", SecretStr(SECRET))


class Issuer:
    """Publishes the public halves of its keys, and counts how often it is asked."""

    def __init__(self, *kids: str) -> None:
        self.keys = {kid: ec.generate_private_key(ec.SECP256R1()) for kid in kids}
        self.asked = 0
        self.away = False
        self.now = 0.0

    def published(self) -> PublishedKeySet:
        """The keys as a verifier reads them."""
        return PublishedKeySet(
            "https://issuer.example/jwks",
            httpx.MockTransport(self._answer),
            monotonic=lambda: self.now,
        )

    def _answer(self, _: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.away:
            return httpx.Response(503)
        return httpx.Response(
            200,
            json={
                "keys": [
                    {
                        **json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())),
                        "kid": kid,
                        "alg": "ES256",
                        "use": "sig",
                    }
                    for kid, key in self.keys.items()
                ]
            },
        )

    def token(self, kid: str, **claims: Any) -> str:
        """A token signed by one of the keys."""
        whole = {
            "iss": ISSUER,
            "aud": "authenticated",
            "exp": int(time.time()) + 60,
            "role": "authenticated",
            "sub": str(USER),
            **claims,
        }
        return jwt.encode(whole, self.keys[kid], algorithm="ES256", headers={"kid": kid})

    def public_pem(self, kid: str) -> bytes:
        """What everybody knows of a key."""
        return (
            self.keys[kid]
            .public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )


def by_keys(issuer: Issuer, secret: str | None = None) -> Verifier:
    return Verifier(
        ISSUER,
        "authenticated",
        None if secret is None else SecretStr(secret),
        issuer.published(),
    )


def unsigned(claims: dict[str, Any], **header: Any) -> str:
    """A token as an attacker writes it by hand."""
    parts = [json.dumps({"typ": "JWT", **header}).encode(), json.dumps(claims).encode(), b""]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


async def test_a_person_is_who_the_token_says() -> None:
    assert await SHARED.caller(token(USER)) == Caller(Role.PERSON, USER)


async def test_the_service_role_is_no_person() -> None:
    assert await SHARED.caller(token(None)) == Caller(Role.SERVICE)


def test_a_transaction_learns_no_more_than_policies_ask_for() -> None:
    """E-mail and metadata of the token go nowhere: the server may log its settings."""
    claims = json.loads(Caller(Role.PERSON, USER).claims())

    assert claims == {"role": "authenticated", "sub": str(USER)}


FORGED: dict[str, Callable[[], str]] = {
    "expired": lambda: token(USER, exp=int(time.time()) - 60),
    "without expiry": lambda: token(USER, exp=None),
    "not valid yet": lambda: token(USER, nbf=int(time.time()) + 600),
    "for another audience": lambda: token(USER, aud="another"),
    "without audience": lambda: token(USER, aud=None),
    "of another issuer": lambda: token(USER, iss="https://evil.example"),
    "without issuer": lambda: token(USER, iss=None),
    "signed with another secret": lambda: token(USER, secret="x" * 40),
    "signed with a stronger algorithm": lambda: token(USER, secret=SECRET * 2, alg="HS512"),
    "without role": lambda: token(USER, role=None),
    "of the anonymous role": lambda: token(USER, role="anon"),
    "of the owner's role": lambda: token(USER, role="postgres"),
    "without subject": lambda: token(USER, sub=None),
    "with a subject that is no id": lambda: token(USER, sub="' or true --"),
    "alg none": lambda: unsigned(
        {"iss": ISSUER, "aud": "authenticated", "exp": 2**33, "role": "service_role"}, alg="none"
    ),
    "alg None in capitals": lambda: unsigned(
        {"iss": ISSUER, "aud": "authenticated", "exp": 2**33, "role": "service_role"}, alg="NONE"
    ),
    "no token at all": lambda: "abc",
    "three dots": lambda: "a.b.c",
    "too long": lambda: token(USER, extra="x" * 9_000),
    "deeply nested": lambda: unsigned({}, alg="HS256", crit="[" * 2_000),
    "payload exchanged": lambda: ".".join(
        (token(USER).split(".")[0], token(uuid4()).split(".")[1], token(USER).split(".")[2])
    ),
}


@pytest.mark.parametrize("how", FORGED)
async def test_a_forged_token_proves_nobody(how: str) -> None:
    with pytest.raises(TokenRefused):
        await SHARED.caller(FORGED[how]())


async def test_a_forged_token_is_answered_401_and_quoted_nowhere(
    front: Front, capsys: pytest.CaptureFixture[str]
) -> None:
    """SEC-4: neither the answer nor the log shows what was given."""
    for how, forge in FORGED.items():
        forged = forge()
        answer = await front.ask("GET", "/me/notifications", bearer=forged)

        assert answer.status_code == 401, how
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["code"] in {"token_expired", "token_invalid", "token_too_long"}
        seen = answer.text + "".join(capsys.readouterr())
        assert not [part for part in forged.split(".") if len(part) > 8 and part in seen]


async def test_without_a_token_there_is_nothing(front: Front) -> None:
    for header in (None, "", "Bearer", "Bearer ", "Basic YTpi", "bearer"):
        for path in ("/me/notifications", "/nothing/there", "/mentors/x/pause"):
            answer = await front.http.get(
                path, headers={} if header is None else {"Authorization": header}
            )
            assert answer.status_code == 401
            assert answer.headers["content-type"] == "application/problem+json"


async def test_published_keys_are_read_once_and_found_by_name() -> None:
    issuer = Issuer("one", "two")
    verifier = by_keys(issuer)

    for kid in ("one", "two", "one"):
        assert (await verifier.caller(issuer.token(kid))).user_id == USER

    assert issuer.asked == 1


async def test_a_new_key_is_found_and_a_forged_name_costs_the_issuer_nothing() -> None:
    """Rotation without restart; unknown names are asked for once in half a minute."""
    issuer = Issuer("old")
    verifier = by_keys(issuer)
    await verifier.caller(issuer.token("old"))
    issuer.keys["new"] = ec.generate_private_key(ec.SECP256R1())
    issuer.now = 31

    assert (await verifier.caller(issuer.token("new"))).user_id == USER
    for _ in range(5):
        forged = jwt.encode(
            {}, ec.generate_private_key(ec.SECP256R1()), "ES256", headers={"kid": "x"}
        )
        with pytest.raises(TokenRefused):
            await verifier.caller(forged)

    assert issuer.asked == 2


async def test_a_key_withdrawn_ends_and_an_issuer_away_ends_nobody() -> None:
    issuer = Issuer("one")
    verifier = by_keys(issuer)
    good = issuer.token("one")
    await verifier.caller(good)

    issuer.away, issuer.now = True, 601
    await verifier.caller(good)
    issuer.now = 3_700
    with pytest.raises(KeysUnavailable):
        await verifier.caller(good)
    issuer.away, issuer.now = False, 3_800
    del issuer.keys["one"]
    with pytest.raises(TokenRefused):
        await verifier.caller(good)


async def test_the_public_key_is_no_secret_to_sign_with() -> None:
    """The classic confusion: HS256 with what everybody knows as the secret."""
    issuer = Issuer("one")
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"one","typ":"JWT"}').rstrip(b"=")
    claims = jwt.encode({"sub": str(USER), "role": "service_role"}, SECRET).split(".")[1].encode()
    signed = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    seal = base64.urlsafe_b64encode(signed.sign(header + b"." + claims, issuer.public_pem("one")))
    forged = b".".join((header, claims, seal.rstrip(b"="))).decode()

    for verifier in (by_keys(issuer), by_keys(issuer, SECRET)):
        with pytest.raises(TokenRefused):
            await verifier.caller(forged)


async def test_a_key_of_another_kind_than_its_token_is_refused() -> None:
    """A shared secret that slipped into the published document verifies nothing."""
    issuer = Issuer("one")
    oct_key = {
        "kty": "oct",
        "kid": "oct",
        "alg": "HS256",
        "k": "c2VjcmV0LW9mLTMyLWJ5dGVzLW9yLW1vcmUtaGVyZSE",
    }
    keys = PublishedKeySet(
        "https://issuer.example/jwks",
        httpx.MockTransport(lambda _: httpx.Response(200, json={"keys": [oct_key]})),
        monotonic=lambda: 0.0,
    )
    verifier = Verifier(ISSUER, "authenticated", None, keys)
    forged = jwt.encode(
        {
            "sub": str(USER),
            "role": "service_role",
            "iss": ISSUER,
            "aud": "authenticated",
            "exp": 2**33,
        },
        "secret-of-32-bytes-or-more-here!",
        headers={"kid": "oct"},
    )
    for given in (forged, issuer.token("one")):
        with pytest.raises(TokenRefused):
            await verifier.caller(given)


@pytest.mark.parametrize("document", [b"<html>", b"[]", b'{"keys": 3}', b"{}"])
async def test_a_document_that_holds_no_keys_proves_nobody(document: bytes) -> None:
    keys = PublishedKeySet(
        "https://issuer.example/jwks",
        httpx.MockTransport(lambda _: httpx.Response(200, content=document)),
        monotonic=lambda: 0.0,
    )
    with pytest.raises(KeysUnavailable):
        await Verifier(ISSUER, "authenticated", None, keys).caller(Issuer("one").token("one"))


def test_who_believes_nobody_does_not_start() -> None:
    app = build_app_of_nothing()
    for missing in ("api_jwt_issuer", "api_jwt_secret"):
        with pytest.raises(ConfigurationError, match=missing.upper()):
            build_api(app, settings(**{missing: None}), "postgresql://nowhere/none")


def test_a_secret_that_can_be_guessed_is_refused_without_being_shown() -> None:
    """SEC-4: the error names the rule; settings print no secret."""
    with pytest.raises(ValidationError) as refused:
        ApiSettings(api_jwt_secret=SecretStr("short-marker"))
    assert "short-marker" not in str(refused.value)
    assert SECRET not in repr(settings())


def build_app_of_nothing() -> Any:
    from handlers.settings import ApplicationSettings  # noqa: PLC0415 - used here alone

    return build_app(ApplicationSettings.model_construct())
