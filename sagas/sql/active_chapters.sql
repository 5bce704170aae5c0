-- active_chapters: the chapters these mentors are active members of.
-- index: chapter_memberships_once_per_chapter (mentor_id, chapter_id)
-- why: a mentor may belong to several; one statement for the whole batch.
select mentor_id, chapter_id
from chapter_memberships
where mentor_id = any(%(mentor_ids)s::uuid[]) and active
