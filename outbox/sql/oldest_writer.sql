-- oldest_writer: the oldest transaction that may still write, and the next that will begin.
-- index: none, no table is read
-- why: one that published before a route was there commits a message without a delivery for it. When all that
--      were under way at a moment have ended, nothing of that kind can come any more.
select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as oldest,
    pg_snapshot_xmax(pg_current_snapshot())::text::bigint as next
