-- list_scenarios: every rule, and how it stands in one organisation.
-- index: scenario_settings_one_per_organisation (organisation_id, scenario_id)
-- why: rules are templates for all; what nobody has ever switched on is off.
select s.id, s.code, s.name, s.rule, coalesce(t.enabled, false) as enabled, t.enabled_at
from followup_scenarios as s
left join scenario_settings as t
    on t.scenario_id = s.id and t.organisation_id = %(organisation_id)s
where %(code)s::text is null or s.code = %(code)s
order by s.code
