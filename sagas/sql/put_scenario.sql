-- put_scenario: write a rule under its code; as it was before, if it was there.
-- index: followup_scenarios_code_is_unique (code)
-- why: its id stays, so that what was prompted for under it is not prompted for again.
with before as (
    select name, rule from followup_scenarios where code = %(code)s
), put as (
    insert into followup_scenarios (code, name, rule, created_at, updated_at)
    values (%(code)s, %(name)s, %(rule)s, %(now)s, %(now)s)
    on conflict (code) do update
    set name = excluded.name, rule = excluded.rule, updated_at = excluded.updated_at
    returning id
)
select put.id, before.name, before.rule
from put
left join before on true
