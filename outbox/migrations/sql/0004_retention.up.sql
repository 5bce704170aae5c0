-- 0004_retention: how each table is filled and vacuumed, now that old rows are deleted from it.
-- locks: a moment's exclusive lock on each table, to note its settings.
-- yesterday's code: runs; it asks for nothing of this.
set local lock_timeout = '5s';

-- Written once, deleted in runs of thousands: a fifth of a large table is too long to wait for.
alter table outbox.message set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05);
alter table outbox.receipt set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05);
alter table outbox.dedup set (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
alter table outbox.saga_transition set (autovacuum_vacuum_scale_factor = 0.05);

-- Small and never at rest: vacuumed by the number of dead rows and at full speed. What is only updated has room on
-- its page for the next version, and no index to write (HOT).
alter table outbox.lease set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0);
alter table outbox.key_lease set (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0);
alter table outbox.relay set (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200,
    autovacuum_vacuum_cost_delay = 0);
alter table outbox.destination set (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200,
    autovacuum_vacuum_cost_delay = 0);
alter table outbox.saga set (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
