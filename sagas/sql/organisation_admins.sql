-- organisation_admins: who administers an organisation.
-- index: none (the people who hold a role are few)
-- why: they hear of what stays unconfirmed for a day (ALR-3).
select distinct user_id
from user_roles
where organisation_id = %(organisation_id)s
    and active
    and role = 'org_admin'
order by user_id
