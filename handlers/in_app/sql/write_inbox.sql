-- write_inbox: write the inbox rows of some groups and link their items and prompts to them.
-- index: notifications_once_per_idempotency_key (idempotency_key);
--      notification_items_one_per_position (group_id, position); prompt_history_pkey (id)
-- why: the key is derived from group and position, so writing twice writes once; the rows really
--      written tell the first writer of a group from a repeat.
with given as (
    select *
    from unnest(
        %(ids)s::uuid[], %(groups)s::uuid[], %(positions)s::integer[], %(organisations)s::uuid[],
        %(recipients)s::uuid[], %(kinds)s::text[], %(tiers)s::text[], %(mentors)s::uuid[],
        %(titles)s::text[], %(bodies)s::text[], %(deep_links)s::text[], %(prompts)s::uuid[]
    ) as row_of (
        id, group_id, position, organisation_id, recipient_id, kind, tier, mentor_id, title, body,
        deep_link, prompt_id
    )
), written as (
    insert into public.notifications (
        id, organisation_id, recipient_id, kind, tier, mentor_id, title, body, deep_link,
        group_id, idempotency_key, created_at
    )
    select
        given.id, given.organisation_id, given.recipient_id, given.kind, given.tier,
        given.mentor_id, given.title, given.body, given.deep_link,
        given.group_id, given.group_id::text || ':' || given.position, %(now)s
    from given
    on conflict (idempotency_key) do nothing
    returning id, group_id, split_part(idempotency_key, ':', 2)::integer as position
), linked as (
    update public.notification_items as item
    set notification_id = written.id
    from written
    where item.group_id = written.group_id
        and item.position = written.position
), prompted as (
    update public.prompt_history as prompt
    set notification_id = given.id
    from given
    inner join written on written.id = given.id
    where given.prompt_id is not null
        and prompt.id = given.prompt_id
)
select group_id, count(*) as rows_written
from written
group by group_id
