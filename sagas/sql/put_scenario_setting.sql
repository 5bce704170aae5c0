-- put_scenario_setting: switch a rule on or off for an organisation.
-- index: scenario_settings_one_per_organisation (organisation_id, scenario_id)
-- why: the time of enabling decides which activities count (SCN-11): switching on what is on does
--      not move it, switching on again what was off does, or the time between would be made up for.
insert into scenario_settings as t (
    organisation_id, scenario_id, enabled, enabled_at, changed_by, changed_at
)
values (
    %(organisation_id)s, %(scenario_id)s, %(enabled)s,
    case when %(enabled)s then %(now)s::timestamptz end, %(actor_id)s, %(now)s
)
on conflict (organisation_id, scenario_id) do update
set enabled = excluded.enabled,
    enabled_at = case
        when excluded.enabled and not t.enabled then excluded.enabled_at
        else t.enabled_at
    end,
    changed_by = excluded.changed_by,
    changed_at = excluded.changed_at
returning enabled_at
