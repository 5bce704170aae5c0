-- break_glass_mentors: whose state a person may have to send by hand, the oldest danger first.
-- index: peer_mentors_pkey (id); portal_sync_state_pkey (mentor_id)
-- why: danger is who is wanted hidden and not confirmed so, or was seen on the public page; then who
--      is unconfirmed; then the rest. In each the longest wait goes first.
select
    m.id as mentor_id,
    o.id as organisation_id,
    o.code as organisation,
    o.visibility_channel as channel,
    m.visibility_version as version,
    listed.visible,
    standing.danger,
    standing.unconfirmed
from peer_mentors as m
inner join organisations as o on o.id = m.organisation_id
left join portal_sync_state as s on s.mentor_id = m.id
cross join lateral (select app.visible(m.id, %(now)s) as visible) as listed
cross join lateral (
    select
        confirmed.no as unconfirmed,
        not listed.visible and (confirmed.no or coalesce(s.observed_published, false)) as danger
    from (
        select
            coalesce(s.acked_version, 0) < m.visibility_version
            or s.acked_visible is distinct from listed.visible as no
    ) as confirmed
) as standing
where o.visibility_channel <> 'none'
    and (%(organisation)s::text is null or o.code = %(organisation)s)
    and (%(mentors)s::uuid[] is null or m.id = any(%(mentors)s::uuid[]))
order by
    standing.danger desc,
    not standing.danger and standing.unconfirmed desc,
    greatest(
        m.visibility_changed_at, case when m.visible_until <= %(now)s then m.visible_until end
    ) nulls last,
    m.id
