-- 0006_key_lease, back: the table is in the WAL again, with its second index.
set local lock_timeout = '5s';

alter table outbox.key_lease set logged;
create index key_lease_token_idx on outbox.key_lease (token);
