-- bump_visibility: raise one mentor's version above a given one and publish the state again.
-- index: peer_mentors_pkey (id)
-- why: the function publishes visibility.changed in this transaction, under the mentor's lock.
select app.bump_visibility(%(mentor_id)s, %(at_least)s, %(reason)s, %(now)s)
