-- 0003_visibility: remove what the way up created. Statuses stay as they are in peer_mentors.
-- locks: access exclusive on peer_mentors, certifications and organisations, for a catalogue change.
set local lock_timeout = '5s';

drop view public.visibility_sync_events;
drop trigger peer_mentors_20_edited on public.peer_mentors;
drop trigger organisations_zone_changed on public.organisations;
drop trigger organisations_zone_is_known on public.organisations;
drop trigger certifications_removed on public.certifications;
drop trigger certifications_changed on public.certifications;
drop trigger certifications_added on public.certifications;
drop function private.mentor_edited();
drop function private.organisation_zone_changed();
drop function private.organisation_zone_is_known();
drop function private.certificates_changed();
drop function private.refresh_mentors(uuid[], timestamptz);
drop function app.bump_visibility(uuid, bigint, text, timestamptz);
drop function app.offboard_mentor(uuid, uuid, text, timestamptz);
drop function app.reactivate_mentor(uuid, uuid, text, timestamptz);
drop function app.pause_mentor(uuid, uuid, text, timestamptz);
drop function app.pause_lapsed_mentors(uuid, uuid, timestamptz);
drop function app.pause_lapsed_mentor(uuid, uuid, timestamptz);
drop function private.pause_lapsed(uuid[], uuid, timestamptz);
drop function private.change_mentor;
drop function private.record_transition;
drop function private.announce(uuid, bigint);
drop function app.visible(uuid, timestamptz);
drop function private.is_listed(text, text, timestamptz, timestamptz);
drop function private.deciding_certificates(uuid[]);
drop function app.counted_certificates(uuid[]);
drop function app.local_date(timestamptz, text);
drop function app.instant(timestamptz);
drop table public.mentor_status_history;
drop table public.portal_sync_state;
