-- register_handler: give a handler its destination row, if it has none.
-- index: destination_pk (handler)
-- why: only adds; a pause or hold in force stays.
insert into outbox.destination (handler)
values (%(handler)s)
on conflict on constraint destination_pk do nothing
