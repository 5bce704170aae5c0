-- identify_database: what no other database has, for the names of its queues at a broker.
-- index: none, one row
-- why: two databases may share a broker, and a ticket means nothing in another one. A replica that takes over
--      is the same database.
select c.system_identifier::text || ' ' || d.oid::text as identity
from pg_control_system() as c
inner join pg_database as d on d.datname = current_database()
