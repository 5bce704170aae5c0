-- doctor_server: the server's version, its clock and the settings that promises stand on.
-- index: none, one row
-- why: a server that forgets what it committed, or never vacuums, breaks promises without an error.
select current_setting('server_version_num')::integer as version_num,
    current_setting('server_version') as version,
    current_setting('fsync') = 'on' as fsync,
    current_setting('full_page_writes') = 'on' as full_page_writes,
    current_setting('synchronous_commit') as synchronous_commit,
    current_setting('autovacuum') = 'on' and current_setting('track_counts') = 'on' as autovacuum,
    current_setting('default_transaction_isolation') as default_isolation,
    current_setting('default_transaction_read_only') = 'on' or pg_is_in_recovery() as read_only,
    pg_database_size(current_database()) as database_bytes,
    pg_has_role('pg_read_all_stats', 'member') as sees_all_sessions,
    clock_timestamp() as clock
