-- list_organisations: every organisation, or the one with `code`.
-- index: none (a handful of rows)
-- why: in the order of their codes, so that reports of two runs can be laid side by side.
select id, code, timezone, go_live_date, visibility_channel
from organisations
where %(code)s::text is null or code = %(code)s
order by code
