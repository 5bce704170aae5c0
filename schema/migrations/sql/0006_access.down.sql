-- 0006_access: take back policies, the guard, and what was granted on tables that existed before.
-- locks: access exclusive on the application's existing tables, for a catalogue change only.
set local lock_timeout = '5s';

drop trigger peer_mentors_30_audited on public.peer_mentors;
drop trigger peer_mentors_10_guarded on public.peer_mentors;
drop function private.mentor_edit_audited();
drop function private.mentor_guarded();
drop view public.mentor_listing;
drop policy notifications_own on public.notifications;
drop policy activities_own_or_followed on public.activities;
drop policy device_tokens_own on public.device_tokens;
drop policy certifications_own_or_followed on public.certifications;
drop policy assignments_own on public.assignments;
drop policy user_roles_own on public.user_roles;
drop policy chapter_memberships_own_or_followed on public.chapter_memberships;
drop policy peer_mentors_edit_own_or_followed on public.peer_mentors;
drop policy peer_mentors_read_own_or_followed on public.peer_mentors;
drop policy peer_mentors_public_listing on public.peer_mentors;
drop policy chapters_of_mine on public.chapters;
drop policy organisations_of_mine on public.organisations;
drop function app.may_follow_up(uuid, uuid);
drop function private.my_followed_mentors();
drop function private.widened_organisations(uuid);
drop function private.my_coordinator_chapters();
drop function private.my_organisations();

do $$
declare
    added record;
begin
    for added in select a.relation, a.name from app.addition as a where a.kind = 'grant' loop
        execute format('revoke %s on public.%I from service_role', added.name, added.relation);
    end loop;
    for added in select a.relation from app.addition as a where a.kind = 'forced_row_security' loop
        execute format('alter table public.%I no force row level security', added.relation);
    end loop;
    for added in select a.relation from app.addition as a where a.kind = 'row_security' loop
        execute format('alter table public.%I disable row level security', added.relation);
    end loop;
    delete from app.addition as a where a.kind in ('grant', 'forced_row_security', 'row_security');

    if to_regnamespace('outbox') is not null then
        alter default privileges in schema outbox
            revoke select, insert, update, delete on tables from service_role;
        alter default privileges in schema outbox revoke usage on sequences from service_role;
        alter default privileges in schema outbox revoke execute on functions from service_role;
        revoke all on all functions in schema outbox from service_role;
        revoke all on all sequences in schema outbox from service_role;
        revoke all on all tables in schema outbox from service_role;
        revoke all on schema outbox from service_role;
    end if;
end
$$;
