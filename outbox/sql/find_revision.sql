-- find_revision: the revision of the engine's schema in this database.
-- index: none, one row
-- why: a relay refuses to run on tables it does not know.
select version_num from outbox.revision
