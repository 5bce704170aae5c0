-- insert_audit: append what somebody did, or was refused.
-- index: audit_log_pkey (id)
-- why: append-only; a trigger refuses every change afterwards.
insert into audit_log (
    at, actor_id, actor_role, action, organisation_id, mentor_id, subject, reason, before, after,
    request_id
)
values (
    %(at)s, %(actor_id)s, %(actor_role)s, %(action)s, %(organisation_id)s, %(mentor_id)s,
    %(subject)s, %(reason)s, %(before)s, %(after)s, %(request_id)s
)
returning id
