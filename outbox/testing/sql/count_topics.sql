-- count_topics: how many messages of each topic and version there are.
-- index: message_pk (id)
-- why: what a failed assertion shows beside what it looked for.
select topic, version, count(*) as messages
from outbox.message
where id > 0
group by topic, version
order by topic, version
