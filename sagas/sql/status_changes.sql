-- status_changes: changes of status, what their mentors' status is now, and who has told of them.
-- index: mentor_status_history_pkey (id); peer_mentors_pkey (id);
--      notification_items_mentor_idx (mentor_id); notification_groups_pkey (id)
-- why: told is what is still so; a pause lifted before anybody heard of it is no news. Whoever made
--      the change may have told it in the same transaction.
select
    change.id as change_id,
    change.mentor_id,
    change.organisation_id,
    change.to_status,
    change.source,
    change.actor_id,
    change.visibility_version as version,
    change.at,
    mentor.status = change.to_status
        and not exists (
            select
            from notification_items as item
            inner join notification_groups as told on told.id = item.group_id
            where item.mentor_id = change.mentor_id
                and item.kind = case change.to_status
                    when 'paused' then 'mentor_paused' else 'mentor_reactivated'
                end
                and told.created_at >= change.at
        ) as is_news
from mentor_status_history as change
inner join peer_mentors as mentor on mentor.id = change.mentor_id
where change.id = any (%(change_ids)s::bigint[])
