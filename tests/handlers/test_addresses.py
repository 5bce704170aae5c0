"""Where secrets are sent, and keys come from: over https, or nowhere but on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from handlers.settings import ApplicationSettings
from outbox.errors import ConfigurationError
from outbox.settings import load_settings
from sagas.http.settings import ApiSettings

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

ADDRESSES = (
    "FCM_BASE_URL",
    "HLF_PORTAL_BASE_URL",
    "HLF_PORTAL_TOKEN_URL",
    "HLF_DATAVERSE_BASE_URL",
    "HLF_DATAVERSE_TOKEN_URL",
    "API_JWKS_URL",
)


def settings_with(name: str) -> type[BaseSettings]:
    """The settings that have `name`."""
    return ApiSettings if name.startswith("API_") else ApplicationSettings


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize(
    "given",
    ["http://portal.example.org/v1", "ftp://portal.example.org", "portal.example.org", "http://"],
)
def test_an_address_that_others_can_listen_to_is_refused(
    name: str, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name and without its value, before anything is sent."""
    monkeypatch.setenv(name, given)

    with pytest.raises(ConfigurationError, match="https address, or http on this machine") as told:
        load_settings(settings_with(name))

    assert f"read: {name}: its keys" in str(told.value) or f"read: {name}: secrets" in str(
        told.value
    )
    assert "example.org" not in str(told.value)


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize(
    "given",
    [
        "https://portal.example.org/v1",
        "http://127.0.0.1:8902",
        "http://localhost",
        "http://[::1]:1",
    ],
)
def test_https_and_the_emulators_of_this_machine_are_taken(
    name: str, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, given)

    settings = load_settings(settings_with(name))

    assert getattr(settings, name.lower()) == given


def test_no_address_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line without a value in `.env` means that nobody is called."""
    monkeypatch.setenv("HLF_PORTAL_BASE_URL", "")

    assert not load_settings(ApplicationSettings).hlf_portal_base_url
