-- 0004_retention, undone: the settings are the server's again.
-- locks: a moment's exclusive lock on each table.
set local lock_timeout = '5s';

alter table outbox.saga reset (fillfactor, autovacuum_vacuum_scale_factor);
alter table outbox.destination reset (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold,
    autovacuum_vacuum_cost_delay);
alter table outbox.relay reset (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold,
    autovacuum_vacuum_cost_delay);
alter table outbox.key_lease reset (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold,
    autovacuum_vacuum_cost_delay);
alter table outbox.lease reset (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold, autovacuum_vacuum_cost_delay);
alter table outbox.saga_transition reset (autovacuum_vacuum_scale_factor);
alter table outbox.dedup reset (autovacuum_vacuum_scale_factor, autovacuum_analyze_scale_factor);
alter table outbox.receipt reset (autovacuum_vacuum_scale_factor, autovacuum_vacuum_insert_scale_factor,
    autovacuum_analyze_scale_factor);
alter table outbox.message reset (autovacuum_vacuum_scale_factor, autovacuum_vacuum_insert_scale_factor,
    autovacuum_analyze_scale_factor);
