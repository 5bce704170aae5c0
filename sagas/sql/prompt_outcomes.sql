-- prompt_outcomes: how the prompts one run claimed or tried again have ended so far.
-- index: notification_groups_run_idx (run_id); prompt_history_group_idx (group_id)
-- why: the summary counts rows written per prompt, so it says what is kept and nothing else. Nobody
--      was there to reach, or it was no longer true: neither sent nor failed.
select
    case
        when told.status = 'failed' and told.error_class in ('no_token', 'cancelled') then 'skipped'
        else told.status
    end as ended,
    count(*) as prompts
from notification_groups as opened
inner join prompt_history as told on told.group_id = opened.id
where opened.run_id = %(run_id)s and opened.kind = 'scenario_prompt'
group by ended
