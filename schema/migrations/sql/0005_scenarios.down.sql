-- 0005_scenarios: remove what the way up created.
-- locks: access exclusive on these tables; the rows are gone afterwards.
set local lock_timeout = '5s';

drop table public.prompt_history;
drop table public.scenario_settings;
drop table public.followup_scenarios;
