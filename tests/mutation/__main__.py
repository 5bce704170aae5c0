"""`./run mutate [NAME...]`: change what decides, one place at a time, and see that a test notices.

What is changed and which tests look is said in `pyproject.toml` (`[tool.mutmut]`); names may hold
`*`, as in `'outbox.retry*'`. Ends with 1 if a mutant lives on that `docs/mutation.md` does not
judge. `--judge` runs nothing and only asks again what is left of the last run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.mutation.judged import Mutant, function_of, unjudged

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "mutation.md"
MUTMUT = Path(sys.executable).parent / "mutmut"
_LIVES_ON = {"survived", "no tests", "suspicious"}


def main(arguments: Sequence[str]) -> int:
    """Run, and judge what lived on."""
    names = [each for each in arguments if each != "--judge"]
    if "--judge" not in arguments:
        children = os.environ.get("MUTATE_CHILDREN", "1")
        command = [str(MUTMUT), "run", "--max-children", children, *names]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        if code != 0:
            return code
    found = sorted(set(_survivors()))
    left = unjudged(found, PAGE.read_text(encoding="utf-8"))
    for mutant in left:
        sys.stdout.write(f"{mutant}\n\n")
    sys.stderr.write(f"{len(found)} mutants lived on, {len(left)} of them are not judged\n")
    return 1 if left else 0


def _survivors() -> Iterator[Mutant]:
    for line in _said("results").splitlines():
        name, _, status = line.strip().rpartition(": ")
        if status in _LIVES_ON:
            yield Mutant.of(function_of(name), _said("show", name))


def _said(*words: str) -> str:
    return subprocess.run(
        [MUTMUT, *words], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
