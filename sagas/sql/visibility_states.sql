-- visibility_states: what we want the portal to show of each mentor, and since when.
-- index: delivery_key_idx (handler, key, position, id) where key is not null
-- why: visibility ends by itself on the day after the last valid one, before any sweep counted a
--      version: the later of the two instants is when the wanted state changed. An outstanding
--      delivery is what the table calls an event that is pending; a dead letter is none. That a key is
--      there is said twice: else all deliveries of everybody were read to hash the portal's.
select
    m.id as mentor_id,
    m.visibility_version as version,
    listed.visible,
    greatest(
        m.visibility_changed_at,
        case when m.visible_until <= %(now)s then m.visible_until end
    ) as changed_at,
    exists (
        select
        from outbox.delivery as d
        where d.handler = %(handler)s
            and d.key is not null
            and d.key = 'mentor:' || m.id::text
    ) as pending
from peer_mentors as m
cross join lateral (
    select
        m.status = 'active'
        and m.suppression_status = 'none'
        and (m.visible_until is null or m.visible_until > %(now)s) as visible
) as listed
where m.organisation_id = %(organisation_id)s
order by m.id
