"""The benchmark: how fast the engine is on this machine, beside SQL alone and beside its peers.

`python -m bench [--quick] [--json] [--peers [NAME ...]] [SCENARIO ...]` measures on `DATABASE_URL`,
or on an embedded server that syncs every commit. Nothing is asserted about time: a figure that
disappoints is kept and shown.
"""
