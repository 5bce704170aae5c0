-- claim_prompts: claim prompts and open the group of each; what somebody else has claimed gives no row.
-- index: prompt_history_once_per_activity (user_id, scenario_id, activity_ref)
-- why: history, group and item are one statement, so no prompt is claimed and then not told. A run
--      that overlaps waits here for the other's commit, and then finds the history (DED-9).
with wanted as materialized (
    select gen_random_uuid() as prompt_id, gen_random_uuid() as group_id, one.*
    from unnest(%(mentor_ids)s::uuid[], %(activity_ids)s::uuid[], %(due_ons)s::date[]) as one (
        mentor_id, activity_id, due_on
    )
),
claimed as (
    insert into prompt_history (
        id, organisation_id, user_id, scenario_id, activity_ref, mentor_id, due_on, group_id, run_id,
        claimed_at
    )
    select
        prompt_id, %(organisation_id)s, mentor_id, %(scenario_id)s, activity_id::text, mentor_id,
        due_on, group_id, %(run_id)s, %(now)s
    from wanted
    on conflict (user_id, scenario_id, activity_ref) do nothing
    returning id, group_id, mentor_id
),
groups as (
    insert into notification_groups (
        id, organisation_id, recipient_id, kind, run_id, dedup_key, created_at
    )
    select
        group_id, %(organisation_id)s, mentor_id, 'scenario_prompt', %(run_id)s, 'prompt:' || id,
        %(now)s
    from claimed
),
items as (
    insert into notification_items (group_id, position, mentor_id, kind, scenario_id, prompt_id)
    select group_id, 0, mentor_id, 'scenario_prompt', %(scenario_id)s, id
    from claimed
)
select group_id
from claimed
