-- 0001_existing_tables: take back the columns, indexes and tables that the way up added.
-- locks: access exclusive on each table touched, for a catalogue change only.
-- why: no cascade anywhere. What somebody else built on a table of ours stops the way down.
set local lock_timeout = '5s';

do $$
declare
    added record;
begin
    for added in select name from app.addition where kind = 'index' loop
        execute format('drop index if exists public.%I', added.name);
    end loop;
    for added in select relation, name from app.addition where kind = 'column' loop
        execute format('alter table public.%I drop column if exists %I', added.relation, added.name);
    end loop;
    for added in
        select relation
        from app.addition
        where kind = 'table'
        order by array_position(array[
            'activities', 'device_tokens', 'certifications', 'assignments', 'user_roles',
            'chapter_memberships', 'peer_mentors', 'chapters', 'organisations'
        ], relation)
    loop
        execute format('drop table public.%I', added.relation);
    end loop;
end
$$;

drop table app.addition;

do $$
begin
    if obj_description('private'::regnamespace, 'pg_namespace')
        = 'Functions of the application that policies and triggers call.'
    then
        drop schema private;
    end if;
end
$$;
