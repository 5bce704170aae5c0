-- count_stored_sagas: open instances by saga, state version and armed timer.
-- index: saga_one_open_per_key (name, key) where ended_at is null
-- why: asked once when a relay starts: today's code must read what is stored, and know its timers.
select s.name, s.state_version, t.timer, count(*) as instances, min(s.id) as first_id
from outbox.saga as s
left join lateral jsonb_object_keys(s.timers) as t(timer) on true
where s.ended_at is null and s.name = any(%(names)s::text[])
group by s.name, s.state_version, t.timer
order by s.name, s.state_version, t.timer
