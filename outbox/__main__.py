"""`python -m outbox`: the command line without its console script."""

from outbox.cli import main

main()
