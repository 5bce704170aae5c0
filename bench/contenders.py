"""Who is measured: ours on its terms, and each peer with the version and settings it is best with.

The settings are the best of a few that were tried in short runs; DATABASE rows of the results name
them. `share` is how much of a full run's jobs a slow peer is given, for time only.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from bench.environments import (
    NODE,
    ROOT,
    Environment,
    NotInstalled,
    make_node,
    node,
    node_modules,
    node_versions,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_NODE_SCRIPTS = Path(__file__).parent / "peers" / "node"
_PSYCOPG = "psycopg[binary,pool]==3.3.9"


@dataclass(frozen=True, slots=True)
class Contender:
    """A program of `bench/peers` and the terms it runs on.

    `settings` become `BENCH_*` variables; `environment` None is our own; `script` is set where it
    runs on Node. `lacking` names a file that it needs and that no package brings.
    """

    name: str
    module: str = ""
    environment: Environment | None = None
    settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    script: str = ""
    share: float = 1.0
    lacking: str = ""

    def command(self) -> list[str]:
        """What starts it, before its own command."""
        if self.script:
            return [str(node()), str(_NODE_SCRIPTS / self.script)]
        python = self.environment.python if self.environment else sys.executable
        return [str(python), "-m", f"bench.peers.{self.module}"]

    def variables(self) -> dict[str, str]:
        """What it finds in its environment, besides the database's address."""
        ours = {f"BENCH_{name}": value for name, value in self.settings.items()}
        if self.script:
            ours["NODE_PATH"] = str(node_modules())
        return ours | {"PYTHONPATH": str(ROOT)}

    def make(self) -> None:
        """Install what it needs. Raises `NotInstalled`."""
        if self.lacking:
            raise NotInstalled(self.lacking)
        if self.script:
            make_node()
        elif self.environment:
            self.environment.make()

    def versions(self) -> dict[str, str]:
        """Of its own packages."""
        if self.script:
            return node_versions()
        return self.environment.versions() if self.environment else {}


def ours(name: str, **settings: str | int) -> Contender:
    """The engine under `name`, on these terms (see `bench/peers/peer_outbox.py`)."""
    terms = {key.upper(): str(value) for key, value in settings.items()}
    return Contender(name, module="peer_outbox", settings=MappingProxyType(terms))


def _python_peer(
    name: str,
    packages: tuple[str, ...],
    *,
    oldest: tuple[int, int] = (3, 11),
    share: float = 1.0,
    lacking: str = "",
    **settings: str | int,
) -> Contender:
    return Contender(
        name,
        module=f"peer_{name.replace('-', '_')}",
        environment=Environment(name, packages, oldest),
        settings=MappingProxyType({key.upper(): str(value) for key, value in settings.items()}),
        share=share,
        lacking=lacking,
    )


_UVLOOP, _ASYNCPG = "uvloop==0.23.0", "asyncpg==0.32.0"
_ALL = (
    Contender("graphile-worker", script="graphile_worker.cjs", environment=NODE),
    Contender("pg-boss", script="pg_boss.cjs", environment=NODE),
    _python_peer("pgqueuer", ("pgqueuer[asyncpg]==1.6.0", _ASYNCPG, _UVLOOP), batch=1000),
    _python_peer(
        "faststream-outbox",
        ("faststream-outbox[asyncpg]==0.19.0", _ASYNCPG, _UVLOOP, "sqlalchemy==2.1.9"),
    ),
    _python_peer(
        "dramatiq-postgres",
        ("dramatiq-postgres==1.4.0", "dramatiq==2.2.1", "psycopg[binary]==3.3.9"),
        share=0.4,
    ),
    _python_peer("procrastinate", ("procrastinate==3.10.0", _PSYCOPG), share=0.2),
    _python_peer("dbos", ("dbos==3.4.0", "psycopg[binary]==3.3.9"), share=0.2),
    _python_peer("oban", ("oban==0.7.0", _PSYCOPG, _UVLOOP), oldest=(3, 12), share=0.2),
    _python_peer("awa", ("awa-pg==0.6.9", _UVLOOP)),
    _python_peer(
        "absurd",
        ("absurd-sdk==0.5.1",),
        share=0.2,
        lacking="its schema is a file of its repository (sql/absurd.sql); no package brings it",
    ),
)
PEERS: dict[str, Contender] = {one.name: one for one in _ALL}
OURS: dict[str, Contender] = {
    f"ours {effect}": ours(f"ours {effect}", effect=effect, batch=1_000, concurrency=1_000)
    for effect in ("database", "idempotent", "ambiguous")
}
ALONE: dict[str, Contender] = {
    effect: Contender(
        f"psycopg alone, {shape}",
        module="peer_psycopg",
        settings=MappingProxyType({"SHAPE": shape}),
    )
    for effect, shape in {"database": "held", "idempotent": "leased"}.items()
}
"""No outbox: what a relay over psycopg cannot do better than, by the effect it compares with."""
WAITING_ALONE: dict[str, Contender] = {
    "database": Contender(
        "psycopg alone, leased and a transaction begun",
        module="peer_psycopg",
        settings=MappingProxyType({"SHAPE": "begun"}),
    ),
    "idempotent": ALONE["idempotent"],
}
"""The same for how long a message waits: a DATABASE handler starts in its transaction."""
