-- settle_prompts: write the outcome of a batch of pushes into the prompt history.
-- index: notification_items_one_per_position (group_id, position); prompt_history_pkey (id)
-- why: the history knows three words (SCN-2); what waits for another try stays claimed, and a prompt
--      that reached no device has failed.
with ended as (
    select *
    from unnest(
        %(groups)s::uuid[], %(statuses)s::text[], %(errors)s::text[], %(tries)s::integer[],
        %(times)s::timestamptz[]
    ) as one (group_id, status, error_class, tries, at)
)
update public.prompt_history as prompt
set status = case ended.status
        when 'queued' then 'claimed' when 'delivered' then 'dispatched' else 'failed'
    end,
    attempts = prompt.attempts + ended.tries,
    error_class = case
        when ended.status = 'delivered' then null
        else coalesce(ended.error_class, nullif(ended.status, 'queued'))
    end,
    settled_at = case when ended.status = 'queued' then null else ended.at end
from ended
inner join public.notification_items as item on item.group_id = ended.group_id
where prompt.id = item.prompt_id
