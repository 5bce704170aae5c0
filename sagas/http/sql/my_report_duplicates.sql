-- my_report_duplicates: a report's duplicates, of the mentors the caller answers for.
-- index: reconciliation_reports_pkey (id)
-- why: they lie in one column for all chapters; the function cuts them down.
select private.my_report_duplicates(%(report_id)s)
