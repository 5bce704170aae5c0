-- floor_fill: rows for the limits' plain table.
-- index: none
-- why: as bench/limits/fill.sql, for a driver instead of psql.
insert into outbox (topic, key, payload)
select 'orders.created', 'k' || (g %% 1000),
    jsonb_build_object('order_id', g, 'customer', 'c' || (g %% 5000), 'note', repeat('x', 120))
from generate_series(1, %(count)s) as g
