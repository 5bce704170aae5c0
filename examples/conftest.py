"""The kit's fixtures, for every example."""

pytest_plugins = ["outbox.testing.plugin"]
