-- unanswered_checks: of some integrations, whether the newest checks all had no answer, and its alert.
-- index: credential_checks_latest_idx (integration, checked_at desc);
--      dashboard_alerts_one_open_per_subject (type, organisation_id, subject) where resolved_at is null
-- why: one missed answer is the network's day; as many in a row want a person.
select
    wanted.integration,
    newest.checks >= %(checks)s and newest.unanswered = newest.checks as persists,
    exists (
        select
        from dashboard_alerts as a
        where a.type = %(type)s
            and a.organisation_id is null
            and a.subject = 'availability:' || wanted.integration
            and a.resolved_at is null
    ) as alerted
from unnest(%(integrations)s::text[]) as wanted (integration)
cross join lateral (
    select count(*) as checks, count(*) filter (where c.outcome = 'unavailable') as unanswered
    from (
        select c.outcome
        from credential_checks as c
        where c.integration = wanted.integration
        order by c.checked_at desc, c.id desc
        limit %(checks)s
    ) as c
) as newest
order by wanted.integration
