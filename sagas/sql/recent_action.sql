-- recent_action: the last time an action on a mentor was carried out since `since`.
-- index: audit_log_organisation_idx (organisation_id, at desc)
-- why: the audit trail is the memory of clicks; refused and repeated ones do not count.
select at, after
from audit_log
where organisation_id = %(organisation_id)s
    and mentor_id = %(mentor_id)s
    and action = %(action)s
    and at > %(since)s
    and subject @> %(subject)s
    and after ->> 'outcome' = 'done'
order by at desc
limit 1
