"""What lives on and is judged is told apart from what is not, whatever its number."""

from __future__ import annotations

from pathlib import Path

from tests.mutation.judged import Mutant, function_of, judged, unjudged, without_reason

PAGE = """
`outbox.retry.Ladder.after`

```diff
-return 1
+return 2
```

Nobody can tell one from two here.
"""
DIFF = """--- outbox/retry.py
+++ outbox/retry.py
@@ -1,3 +1,3 @@
 def after():
-    return 1
+    return 2
"""


def test_a_mutant_is_known_by_its_function_and_its_lines() -> None:
    known = Mutant.of("outbox.retry.Ladder.after", DIFF)

    assert judged(PAGE) == {known}
    assert judged(str(known)) == {known}
    assert unjudged([known, Mutant.of("outbox.retry.again", DIFF)], PAGE) == [
        Mutant("outbox.retry.again", ("return 1",), ("return 2",))
    ]


def test_a_name_of_mutmut_is_read_back() -> None:
    assert function_of("outbox.retry.xǁLadderǁafter__mutmut_3") == "outbox.retry.Ladder.after"
    assert function_of("outbox.retry.x_again__mutmut_12") == "outbox.retry.again"
    assert function_of("sagas.visibility.x__ask_later__mutmut_1") == "sagas.visibility._ask_later"


def test_each_judgement_has_its_reason() -> None:
    """An entry without a sentence is no judgement."""
    page = (Path(__file__).parents[2] / "docs" / "mutation.md").read_text(encoding="utf-8")

    assert not without_reason(page)
    assert without_reason(PAGE.replace("Nobody can tell one from two here.", "")) == [
        "outbox.retry.Ladder.after"
    ]
