-- load_groups: the items of a batch of groups, with what is true of each of them now.
-- index: notification_items_one_per_position (group_id, position); notification_groups_pkey (id)
-- why: one statement for the whole batch, whatever its size (REC-6). Whether a certificate still
--      decides is asked of the one function that knows (ELG-1), so a renewal, a revocation and a
--      newer certificate of the same type all end a reminder that has not left yet (DSP-8).
select
    told.id as group_id,
    told.recipient_id,
    told.kind as group_kind,
    told.run_id,
    told.dedup_key,
    told.status,
    told.resent,
    organisation.language,
    organisation.enrolment_url_template,
    item.id as item_id,
    item.mentor_id,
    item.kind,
    item.tier,
    item.certificate_type,
    item.reason,
    item.scenario_id,
    item.prompt_id,
    item.notification_id,
    inbox.deep_link,
    mentor.status as mentor_status,
    counted.certification_id is not null as certificate_counts
from public.notification_groups as told
inner join public.organisations as organisation on organisation.id = told.organisation_id
inner join public.notification_items as item on item.group_id = told.id
inner join public.peer_mentors as mentor on mentor.id = item.mentor_id
left join public.notifications as inbox on inbox.id = item.notification_id
left join app.counted_certificates(array(
    select distinct about.mentor_id
    from public.notification_items as about
    where about.group_id = any (%(groups)s) and about.certification_id is not null
)) as counted
    on counted.certification_id = item.certification_id
    and counted.expiry_date = item.certification_expiry_date
where told.id = any (%(groups)s)
order by told.id, item.position
