-- insert_credential_check: what one check of an integration's credentials gave.
-- index: credential_checks_latest_idx (integration, checked_at desc)
-- why: append-only; reports read the newest per integration.
insert into credential_checks (integration, checked_at, outcome, reason, hint, run_id)
values (%(integration)s, %(checked_at)s, %(outcome)s, %(reason)s, %(hint)s, %(run_id)s)
