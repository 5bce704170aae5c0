-- 0012_prompt_runs: in how many runs a prompt was tried, and whose contact an activity is.
-- locks: access exclusive on prompt_history and activities, for a catalogue change only.
-- yesterday's code: runs; the columns are defaulted or nullable.
-- why: a mentor follows up several people; without a reference a follow-up with one of them would
--      silence the prompts about all (SCN-7 `unless`), and every contact would overtake the last.
set local lock_timeout = '5s';

insert into app.addition (kind, relation, name)
select 'column', 'activities', 'contact_ref'
where not exists (
        select from pg_attribute
        where attrelid = 'public.activities'::regclass
            and attname = 'contact_ref'
            and not attisdropped
    )
    and not exists (select from app.addition where kind = 'table' and relation = 'activities');

alter table public.activities add column if not exists contact_ref uuid;
comment on column public.activities.contact_ref is
    'Whom the contact was with, as the app numbers its contacts; null: not told.';

alter table public.prompt_history
    add column runs integer not null default 1
        constraint prompt_history_runs_is_positive check (runs >= 1);
