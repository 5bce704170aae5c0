"""SEC-1: secrets from the vault's view, read as the roles themselves on a real database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from handlers.settings import ApplicationSettings, Newest
from handlers.vault import Vault
from handlers.vault.reading import READ_EVERY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIGNING = "whsec_" + "bmV4dC1zaWduaW5nLXNlY3JldC0zMi1ieXRlcy4uLi4="


class Time:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 2, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """The owner's hand on the vault."""
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


def put(conn: psycopg.Connection[tuple[object, ...]], name: str, secret: str) -> None:
    conn.execute(
        "insert into vault._plain (name, secret) values (%s, %s)"
        " on conflict (name) do update set secret = excluded.secret",
        [name, secret],
    )


def as_role(dsn: str, role: str) -> SecretStr:
    """The database for sessions that are `role` from their start."""
    joined = "&" if "?" in dsn else "?"
    return SecretStr(f"{dsn}{joined}options={quote(f'-c role={role}')}")


def plain(vault: Vault) -> dict[str, str]:
    """What the vault gives, to be looked at."""
    return {name: each.get_secret_value() for name, each in vault.secrets().items()}


def test_the_service_reads_ours_and_nothing_else(
    conn: psycopg.Connection[tuple[object, ...]], database: str, time: Time
) -> None:
    put(conn, "portal_client_secret", "ours")
    put(conn, "somebody_elses", "theirs")

    vault = Vault(as_role(database, "service_role"), now=time)

    assert plain(vault) == {"portal_client_secret": "ours"}
    assert "ours" not in repr(vault.secrets())


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_a_client_reads_nothing_and_is_told_by_class(
    conn: psycopg.Connection[tuple[object, ...]], database: str, time: Time, role: str
) -> None:
    """SEC-2: and what failed is logged without its text, which may quote the address."""
    put(conn, "portal_client_secret", "hunter2")

    with capture_logs() as logs:
        found = plain(Vault(as_role(database, role), now=time))

    assert found == {}
    assert [(line["event"], line["sqlstate"]) for line in logs] == [("vault.unreadable", "42501")]
    assert "hunter2" not in str(logs)


def test_a_changed_secret_is_used_half_a_minute_later(
    conn: psycopg.Connection[tuple[object, ...]], database: str, time: Time
) -> None:
    """CRD-3: and whoever asks meanwhile has what was read before, at once."""
    put(conn, "portal_client_secret", "first")
    vault = Vault(SecretStr(database), now=time)
    assert plain(vault) == {"portal_client_secret": "first"}
    put(conn, "portal_client_secret", "second")

    time.now += READ_EVERY - timedelta(seconds=1)
    vault.secrets()
    vault.settled()
    assert plain(vault) == {"portal_client_secret": "first"}
    time.now += timedelta(seconds=1)
    vault.secrets()
    vault.settled()
    assert plain(vault) == {"portal_client_secret": "second"}


def test_a_vault_that_is_away_leaves_what_it_gave_in_force(
    conn: psycopg.Connection[tuple[object, ...]], database: str, time: Time
) -> None:
    put(conn, "portal_client_secret", "kept")
    vault = Vault(SecretStr(database), now=time)
    vault.secrets()
    conn.execute("drop view vault.decrypted_secrets")

    time.now += READ_EVERY
    with capture_logs() as logs:
        vault.secrets()
        vault.settled()

    assert plain(vault) == {"portal_client_secret": "kept"}
    assert [line["error"] for line in logs] == ["UndefinedTable"]


def test_what_the_vault_holds_wins_and_the_rest_stays(
    conn: psycopg.Connection[tuple[object, ...]], database: str, time: Time, tmp_path: Path
) -> None:
    """SEC-1, SEC-3: over values and files alike, secret by secret."""
    put(conn, "portal_client_secret", "from the vault")
    put(conn, "portal_hmac_current", SIGNING)
    put(conn, "portal_hmac_previous", SIGNING)
    put(conn, "fcm_service_account", "{}")
    file = tmp_path / "secret"
    file.write_text("from a file", encoding="utf-8")
    settings = ApplicationSettings(
        hlf_portal_client_secret_file=file,
        hlf_portal_webhook_secrets=SecretStr(""),
        hlf_dataverse_client_secret=SecretStr("from a setting"),
    )

    found = Newest(settings, vault=Vault(SecretStr(database), now=time))()

    assert found.portal_client_secret() == "from the vault"
    assert len(found.webhook_secrets()) == 2
    assert found.fcm_service_account_json == SecretStr("{}")
    assert found.dataverse_client_secret() == "from a setting"
