"""Whose words stand where: the engine speaks of messages only, and nothing names a workplace."""

from __future__ import annotations

import ast
import re
from collections import defaultdict

from tests.tidy.tree import ROOT, at, modules, texts

_OF_THE_APPLICATION = re.compile(
    r"mentor|push.notification|\bportal|dynamics|dataverse|\bfcm\b|firebase|coordinator|\bapns\b",
    re.IGNORECASE,
)
# Written in pieces: this file must not name what it forbids.
_REGISTRY = re.compile(
    r"\b(?:py" + r"pi|test\.py" + r"pi|files\.python" + r"hosted|registry\.npm" + r"js|deb\.deb"
    r"ian)\.(?:org|com)\b"
)
_WORKPLACE = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+)/|\.\./" + r"shared\b")


def test_the_engine_knows_nothing_of_its_first_application() -> None:
    """Any team could take it for its own messages."""
    found = [
        at(path, text.count("\n", 0, hit.start()) + 1, hit[0])
        for path, text in texts()
        if path.is_relative_to(ROOT / "outbox")
        for hit in _OF_THE_APPLICATION.finditer(text)
    ]

    assert not found


def test_a_vocabulary_is_written_once() -> None:
    """Two of one name that share words grow apart; emulators speak others' language."""
    found = defaultdict(list)
    for path, module in modules("handlers", "sagas"):
        if "emulators" in path.parts:
            continue
        for node in module.body:
            if isinstance(node, ast.ClassDef) and _is_enumeration(node):
                found[node.name].append(_words(node))
    written_again = [
        name
        for name, all_of_it in found.items()
        if len(set().union(*all_of_it)) < sum(map(len, all_of_it))
    ]

    assert len(found) > 10
    assert not written_again


def _is_enumeration(node: ast.ClassDef) -> bool:
    return any(isinstance(base, ast.Name) and base.id == "StrEnum" for base in node.bases)


def _words(node: ast.ClassDef) -> set[object]:
    return {
        line.value.value
        for line in node.body
        if isinstance(line, ast.Assign) and isinstance(line.value, ast.Constant)
    }


def test_nothing_names_a_registry_or_somebodys_folder() -> None:
    """Where packages come from is the user's setting; a path of ours exists on no other machine."""
    found = [
        at(path, text.count("\n", 0, hit.start()) + 1, hit[0])
        for path, text in texts()
        for pattern in (_REGISTRY, _WORKPLACE)
        for hit in pattern.finditer(text)
    ]

    assert not found


def test_the_locks_name_packages_and_hashes_only() -> None:
    for name in ("requirements.lock", "requirements-dev.lock", "requirements-uv.lock"):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        strange = [
            line
            for line in lines
            if not re.fullmatch(
                r"[a-z0-9.-]+==\S+( ; [^\\]+)?( \\)?|    --hash=sha256:[0-9a-f]{64}( \\)?", line
            )
        ]

        assert lines
        assert not strange
