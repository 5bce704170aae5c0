-- 0005_tickets, taken back. What is under a ticket becomes due again first.
set local lock_timeout = '5s';

update outbox.delivery as d
set lease_token = null, lease_until = null
from outbox.lease as e
where e.queue is not null and d.lease_token = e.token and d.begun_at is null and d.unknown_at is null;
delete from outbox.key_lease as k using outbox.lease as e where e.queue is not null and k.token = e.token;
delete from outbox.lease where queue is not null;

drop table outbox.worker;
alter table outbox.lease drop column queue;
