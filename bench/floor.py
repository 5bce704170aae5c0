"""What the server alone can do: pgbench on a plain table, no Python in the data path.

The scripts of `bench/limits` are those of the survey of peers, word for word (`a`, `b`, `c`,
`bcur`), and their variants with the rows that we write too: a receipt, the mark of a begun call.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.environments import NotInstalled
from outbox.embedded import BinariesMissing
from outbox.embedded_host import find_binaries

if TYPE_CHECKING:
    from bench.ground import Ground

HERE = Path(__file__).parent / "limits"
BATCH = 1_000
LIMITS = {
    "a": "claim and delete in one statement",
    "b": "lease by update, delete",
    "bcur": "lease by update after the last id taken, delete",
    "c": "row locks held, delete in the same transaction",
    "c_receipt": "row locks held, delete and receipt in the same transaction",
    "bcur_receipt": "lease by update, delete and receipt",
    "c_keys_receipt": "row locks held, key leased, delete and receipt in the same transaction",
    "bcur_keys_receipt": "lease by update, key leased, delete and receipt",
    "bcur_heads_receipt": "lease of each key, then of its head, delete and receipt",
    "bcur_begun_receipt": "lease by update, mark as begun, delete and receipt",
}
SHAPES = {
    "database": "c_receipt",
    "idempotent": "bcur_receipt",
    "ambiguous": "bcur_begun_receipt",
}
"""The limit that writes the rows which a delivery of that effect writes."""
KEYED = {
    "database": ("c_receipt", "c_keys_receipt"),
    "idempotent": ("bcur_receipt", "bcur_keys_receipt"),
}
"""The limit without and with a lease of each ordering key."""
HEADS = "bcur_heads_receipt"
"""The limit that also looks for the head of each key under the key's lease, by an index of keys."""


def tool(name: str) -> str:
    """One of the server's programs: the embedded server's, else the one on PATH."""
    try:
        found: str | None = str(find_binaries() / name)
    except BinariesMissing:
        found = shutil.which(name)
    if found is None or not Path(found).is_file():
        raise NotInstalled(f"there is no {name} here")
    return found


def measure(ground: Ground, script: str, rows: int, *, clients: int = 1) -> float:
    """Rows per second through one script of `bench/limits`, batches of 1,000."""
    with ground.empty() as dsn, tempfile.TemporaryDirectory() as folder:
        more = ("heads.sql",) if script == HEADS else ()
        for file in ("schema.sql", "receipt.sql", *more, "fill.sql"):
            _psql(dsn, HERE / file, rows)
        text = (HERE / f"{script}.sql").read_text("utf-8").replace(":n", str(BATCH))
        path = Path(folder, "script.sql")
        path.write_text(text, "utf-8")
        batches = str(rows // BATCH // clients)
        command = [tool("pgbench"), "-n", "-M", "prepared", "-f", str(path), "-D", "last=0"]
        command += ["-c", str(clients), "-j", str(clients), "-t", batches]
        done = subprocess.run(
            [*command, dsn], capture_output=True, text=True, check=True, cwd=folder
        )
    tps = re.search(r"tps = ([\d.]+) \(without", done.stdout)
    assert tps is not None, "pgbench tells transactions per second"
    return float(tps[1]) * BATCH


def _psql(dsn: str, file: Path, rows: int) -> None:
    command = [tool("psql"), dsn, "-Xq", "-v", "ON_ERROR_STOP=1", "-v", f"n={rows}"]
    subprocess.run([*command, "-f", str(file)], check=True, capture_output=True)
