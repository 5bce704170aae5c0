-- floor_settle: delete a batch of the limits' plain table and keep a receipt of each.
-- index: outbox_pkey (id)
-- why: the second half of `bcur_receipt` and `c_receipt` of bench/limits.
with d as (delete from outbox where id = any(%(ids)s::bigint[]) returning id)
insert into receipt (delivery_id, attempt, outcome, relay) select id, 1, 'done', 'w1' from d
