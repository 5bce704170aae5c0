-- insert_operation: append what a person does to deliveries, before it is done.
-- index: operation_pk (id)
-- why: in the transaction of the act, so that neither is without the other; receipts name the row.
insert into outbox.operation (at, actor, action, why, selection, found)
values (
    coalesce(%(now)s::timestamptz, now()), %(actor)s, %(action)s, %(why)s, %(selection)s::jsonb, %(found)s
)
returning id
