-- my_notifications: a page of the caller's inbox, the newest first, behind the row `before`.
-- index: notifications_inbox_idx (recipient_id, created_at desc)
-- why: policies show the caller's own rows alone; the filter is repeated for the index (NTF-3).
select
    n.id, n.kind, n.tier, n.mentor_id, n.title, n.body, n.deep_link, n.status, n.read_at,
    n.created_at
from notifications as n
where n.recipient_id = (select auth.uid())
    and (not %(unread)s or n.read_at is null)
    and (
        %(before)s::uuid is null
        or (n.created_at, n.id) < (
            select b.created_at, b.id
            from notifications as b
            where b.id = %(before)s
        )
    )
order by n.created_at desc, n.id desc
limit %(limit)s
