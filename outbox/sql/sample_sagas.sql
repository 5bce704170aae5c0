-- sample_sagas: open instances of every saga and state version, up to `limit` of each.
-- index: none, a command for people that looks at all open instances
-- why: in the order of a hash, so that a sample is not only the oldest, and the same one the next time.
select q.id, q.name, q.key, q.state::text as state, q.state_version, q.version, q.timers, q.parked_why, q.ended_at
from (
    select s.*, row_number() over (partition by s.name, s.state_version order by md5(s.id::text)) as place
    from outbox.saga as s
    where s.ended_at is null
) as q
where q.place <= %(limit)s
order by q.name, q.state_version, q.id
