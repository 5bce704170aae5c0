-- write_inbox: write one group's inbox rows and link its items and prompts to them.
-- index: notifications_once_per_idempotency_key (idempotency_key);
--      notification_items_one_per_position (group_id, position); prompt_history_pkey (id)
-- why: the key is derived from group and position, so writing twice writes once; the number of rows
--      really written tells the first writer from a repeat.
with given as (
    select *
    from unnest(
        %(ids)s::uuid[], %(positions)s::integer[], %(kinds)s::text[], %(tiers)s::text[],
        %(mentors)s::uuid[], %(titles)s::text[], %(bodies)s::text[], %(deep_links)s::text[],
        %(prompts)s::uuid[]
    ) as row_of (
        id, position, kind, tier, mentor_id, title, body, deep_link, prompt_id
    )
), written as (
    insert into public.notifications (
        id, organisation_id, recipient_id, kind, tier, mentor_id, title, body, deep_link,
        group_id, idempotency_key, created_at
    )
    select
        given.id, %(organisation_id)s, %(recipient_id)s, given.kind, given.tier,
        given.mentor_id, given.title, given.body, given.deep_link,
        %(group_id)s, %(group_id)s::text || ':' || given.position, %(now)s
    from given
    on conflict (idempotency_key) do nothing
    returning id
), linked as (
    update public.notification_items as item
    set notification_id = given.id
    from given
    inner join written on written.id = given.id
    where item.group_id = %(group_id)s
        and item.position = given.position
), prompted as (
    update public.prompt_history as prompt
    set notification_id = given.id
    from given
    inner join written on written.id = given.id
    where prompt.id = given.prompt_id
)
select count(*) as rows_written from written
