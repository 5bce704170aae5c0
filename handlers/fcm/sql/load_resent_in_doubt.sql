-- load_resent_in_doubt: which of these groups are sent once more when nobody knows whether they arrived.
-- index: notification_groups_pkey (id); notification_items_one_per_position (group_id, position);
--      notification_policies_one_per_audience (organisation_id, audience);
--      feature_flags_pkey (organisation_id, flag)
-- why: the organisation says so for each audience (DSP-7); without a policy, or while its own do not
--      take effect (CFG-3), nothing is repeated. The audience is the mentor where the push is about
--      its recipient, else his coordinators.
select told.id
from public.notification_groups as told
inner join public.notification_policies as policy
    on policy.organisation_id = told.organisation_id
    and policy.audience = case
        when exists (
            select from public.notification_items as item
            where item.group_id = told.id and item.mentor_id = told.recipient_id
        ) then 'mentor'
        else 'coordinator'
    end
where told.id = any (%(groups)s)
    and policy.in_doubt = 'resend_once'
    and exists (
        select
        from public.feature_flags as flag
        where flag.organisation_id = told.organisation_id
            and flag.flag = 'per_org_thresholds'
            and flag.enabled
            and (flag.expires_at is null or flag.expires_at > %(now)s)
    )
