-- 0010_applications, back: who owns a handler is forgotten.
set local lock_timeout = '5s';

alter table outbox.destination drop column application;
