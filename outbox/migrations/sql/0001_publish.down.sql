-- 0001_publish, back: drops the functions that publish.
-- locks: access exclusive on the functions; stop publishers first.
set local lock_timeout = '5s';

drop function outbox.publish(text, jsonb, text, text, timestamptz, bigint, text, integer, jsonb, smallint, interval);
drop function outbox.publish_messages(text[], integer[], interval[], jsonb, jsonb, jsonb, timestamptz);
drop function outbox.publish_message(
    text, jsonb, text, text, timestamptz, bigint, text, integer, jsonb, smallint, interval, text, bigint, timestamptz
);
