-- trace_published: what one instance published, with every attempt and what still waits.
-- index: saga_transition_pk (saga_id, version); message_pk (id); receipt_message_idx (message_id, id);
--        delivery_message_idx (message_id)
-- why: for `saga show`: what came of it stands beside what was said.
with said as (
    select t.version as told_at, p.message_id
    from outbox.saga_transition as t
    cross join lateral unnest(t.published) as p(message_id)
    where t.saga_id = %(saga_id)s
), traced as (
    select s.message_id, r.handler, r.attempt, r.outcome, r.reason, r.settled_at as at, r.id as place
    from said as s
    inner join outbox.receipt as r on r.message_id = s.message_id
    union all
    select s.message_id, d.handler, d.attempts + 1,
        case when d.unknown_at is not null then 'held' when d.lease_token is not null then 'leased' else 'waiting' end,
        d.last_reason, coalesce(d.lease_until, d.due_at), 9223372036854775807
    from said as s
    inner join outbox.delivery as d on d.message_id = s.message_id
)
select s.told_at, s.message_id, m.topic, m.version, m.payload::text as payload, t.handler, t.attempt, t.outcome, t.reason, t.at
from said as s
left join outbox.message as m on m.id = s.message_id
left join traced as t on t.message_id = s.message_id
order by s.told_at, s.message_id, t.handler, t.place
