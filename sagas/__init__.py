"""What happens over days: pure decisions in, messages out.

A saga never calls a handler; it publishes a command. `sagas.app` puts the application together.
What the source documents called their services is named in ARCHITECTURE.md (ARC-3).
"""
