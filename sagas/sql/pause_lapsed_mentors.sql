-- pause_lapsed_mentors: pause every active mentor whose required certificate has lapsed.
-- index: none (inside the function)
-- why: the function locks, re-checks, changes, writes history and publishes in this transaction; it
--      returns only what changed, so repeating it tells nobody anything.
select mentor_id, certification_id, certificate_type, certification_expiry_date as expiry_date, version
from app.pause_lapsed_mentors(%(organisation_id)s, %(run_id)s, %(now)s)
order by mentor_id
