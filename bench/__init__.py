"""The benchmark: how fast the engine is on this machine, measured beside a limit of plain SQL.

`python -m bench [--quick] [SCENARIO ...]` measures on `DATABASE_URL`, or on an embedded server that
syncs every commit. Nothing is asserted about time: a figure that disappoints is kept and shown.
"""
