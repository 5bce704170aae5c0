-- register_handler: give a handler its destination row and its owner, if it has none.
-- index: destination_pk (handler)
-- why: only adds; a pause or hold in force stays, and so does an owner. The row is locked either way, so that
--      of two applications that come with one name the second sees the first.
insert into outbox.destination as d (handler, application)
values (%(handler)s, %(application)s)
on conflict on constraint destination_pk do update set application = excluded.application
    where d.application is null
