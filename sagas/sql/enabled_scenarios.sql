-- enabled_scenarios: the rules an organisation has switched on, and since when.
-- index: scenario_settings_one_per_organisation (organisation_id, scenario_id)
-- why: whether a rule has a valid form is judged by sagas.prompt_rules, one by one.
select s.id, s.code, s.rule, t.enabled_at
from scenario_settings as t
inner join followup_scenarios as s on s.id = t.scenario_id
where t.organisation_id = %(organisation_id)s and t.enabled
order by s.code
