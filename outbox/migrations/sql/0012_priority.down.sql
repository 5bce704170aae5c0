-- 0012_priority, undone.
-- locks: a moment's exclusive lock on delivery.
set local lock_timeout = '5s';

drop index outbox.delivery_ranked_age_idx;
drop index outbox.delivery_ranked_idx;
