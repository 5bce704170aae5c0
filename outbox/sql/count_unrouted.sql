-- count_unrouted: messages parked for want of a route, by topic.
-- index: unrouted_topic_idx (topic, message_id)
-- why: for status and for the relay's warning.
select topic, count(*) as parked, min(parked_at) as since
from outbox.unrouted
group by topic
order by topic
