-- lock_configuration: let one person at a time change what an organisation is configured with.
-- index: organisations_pkey (id)
-- why: what stood before is read under this lock, so the audit never tells of a state that was not.
--      Foreign keys to the organisation, and thereby its nightly run, are not kept waiting.
select code from organisations where id = %(organisation_id)s for no key update
