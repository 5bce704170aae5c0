"""What is measured from outside, ours and the peers: one small program each, the same commands.

Each program runs in an environment of its own as `python -m bench.peers.peer_NAME COMMAND ...`, so
nothing here imports more than the standard library and what that environment holds.
"""
