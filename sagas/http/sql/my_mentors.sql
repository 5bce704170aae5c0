-- my_mentors: the mentors that reports may speak of to the caller.
-- index: chapter_memberships_chapter_idx (chapter_id, mentor_id)
-- why: as in my_reach.
select found.mentor_id
from private.my_reported_mentors() as found (mentor_id)
