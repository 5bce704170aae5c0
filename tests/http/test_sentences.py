"""Whatever is refused, the person reads a sentence: theirs in language, and free of code words."""

from __future__ import annotations

import ast
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest

from handlers.texts import Language
from sagas.http.problems import _TOLD
from sagas.http.sentences import OWN, message, speak, spoken
from tests.handlers.texts.test_catalogue import CODE_WORDS
from tests.tidy.tree import modules

if TYPE_CHECKING:
    from tests.http.front import Front

USED = {
    node.value
    for path, tree in modules("sagas")
    if path.name != "sentences.py"
    for node in ast.walk(tree)
    if isinstance(node, ast.Constant) and isinstance(node.value, str)
}


@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize("status", sorted({*_TOLD, HTTPStatus.METHOD_NOT_ALLOWED}))
def test_every_status_and_code_has_a_sentence(status: HTTPStatus, language: Language) -> None:
    """NTF-4 for refusals: none falls back to the code."""
    speak(language)
    for code in ("whatever", *OWN):
        said = message(status, code)

        assert said.endswith(".")
        assert not CODE_WORDS.search(said)
    assert spoken() is language


def test_a_code_with_a_sentence_of_its_own_is_one_the_surface_uses() -> None:
    assert not OWN - USED


async def test_a_refusal_is_told_in_the_language_asked_for(front: Front) -> None:
    async def refused(**headers: str) -> tuple[int, str, str]:
        answer = await front.http.get("/me/notifications", headers=headers)
        assert answer.headers["vary"] == "Accept-Language"
        return answer.status_code, answer.headers["content-language"], answer.json()["message"]

    assert await refused() == (401, "nb", "Du er ikke logget inn. Logg inn og prøv igjen.")
    assert await refused(**{"Accept-Language": "en-GB,nb;q=0.5"}) == (
        401, "en", "You are not signed in. Sign in and try again."
    )  # fmt: skip
    assert (await refused(**{"Accept-Language": "de"}))[1] == "nb"
