-- bump_visibility: count a new version of a mentor's unchanged visibility and publish it.
-- index: none (inside the function)
-- why: an intended re-send needs a new version, or a receiver that lost the effect would answer
--      `duplicate` for ever. Null: unknown mentor, or an organisation without channel.
select app.bump_visibility(%(mentor_id)s, %(at_least)s, %(reason)s, %(now)s)
