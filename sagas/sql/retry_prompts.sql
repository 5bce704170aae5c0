-- retry_prompts: let failed prompts be tried once more, on the same rows.
-- index: prompt_history_pkey (id); notification_groups_pkey (id);
--      notifications_group_idx (group_id)
-- why: history, group and inbox follow one push and change together. The row's own status decides,
--      so of two runs only one gets it. What may have arrived, and what had no device, stays.
with again as (
    update prompt_history as told
    set status = 'claimed', runs = told.runs + 1, run_id = %(run_id)s, error_class = null,
        settled_at = null
    from notification_groups as opened
    where told.id = any (%(prompt_ids)s::uuid[])
        and told.status = 'failed'
        and told.runs < %(runs_max)s
        and opened.id = told.group_id
        and opened.status = 'failed'
        and coalesce(told.error_class, '') not like all (%(permanent)s::text[])
    returning told.group_id
),
groups as (
    update notification_groups
    set status = 'queued', run_id = %(run_id)s, error_class = null, settled_at = null
    where id in (select group_id from again)
),
inbox as (
    update notifications
    set status = 'pending'
    where group_id in (select group_id from again) and status = 'failed'
)
select group_id
from again
