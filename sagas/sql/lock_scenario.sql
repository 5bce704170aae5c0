-- lock_scenario: one rule and how it stands in an organisation, kept from being edited meanwhile.
-- index: followup_scenarios_pkey (id);
--      scenario_settings_one_per_organisation (organisation_id, scenario_id)
-- why: whoever switches it on has the rule in force that was judged.
select s.id, s.code, s.name, s.rule, coalesce(t.enabled, false) as enabled, t.enabled_at
from followup_scenarios as s
left join scenario_settings as t
    on t.scenario_id = s.id and t.organisation_id = %(organisation_id)s
where s.id = %(scenario_id)s
for share of s
