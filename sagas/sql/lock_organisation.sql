-- lock_organisation: let one transaction at a time claim reminders of an organisation.
-- index: none (no table)
-- why: the nightly run and a sweep take mentor rows and reminder keys in opposite order and would
--      deadlock. It ends with the transaction. The unique constraint stays the guarantee.
select pg_advisory_xact_lock(hashtextextended('sagas.reminders:' || %(organisation_id)s::text, 0))
