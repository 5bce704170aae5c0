-- 0012_prompt_runs: forget in how many runs a prompt was tried, and whose contact an activity is.
-- locks: access exclusive on prompt_history and activities, for a catalogue change only.
-- why: a column of activities goes only where the way up added it.
set local lock_timeout = '5s';

alter table public.prompt_history drop column runs;

do $$
begin
    if exists (
        select from app.addition
        where kind = 'column' and relation = 'activities' and name = 'contact_ref'
            or kind = 'table' and relation = 'activities'
    ) then
        alter table public.activities drop column if exists contact_ref;
    else
        comment on column public.activities.contact_ref is null;
    end if;
    delete from app.addition
    where kind = 'column' and relation = 'activities' and name = 'contact_ref';
end
$$;
