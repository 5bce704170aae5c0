"""The HTTP surface: people and jobs reach the application over JSON, and the database decides.

A request is one transaction under `authenticated` with the person's claims, so that row-level
security says what there is for him. Deeds follow under `service_role`, once a right was found.
"""
