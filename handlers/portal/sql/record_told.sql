-- record_told: keep what one attempt learnt about a mentor's state at the portal.
-- index: peer_mentors_pkey (id); portal_sync_state_pkey (mentor_id)
-- why: answers may be recorded out of order, so an acknowledged or accepted version only grows and an
--      observation never replaces a later one. What an attempt did not learn is null and changes
--      nothing. A mentor deleted meanwhile has no row to keep it in, and needs none.
insert into public.portal_sync_state as state (
    mentor_id, accepted_version, accepted_at, acked_version, acked_visible, acked_at,
    observed_version, observed_visible, observed_published, observed_at,
    attempts, last_attempt_at, last_code, last_request_id
)
select
    mentor.id,
    %(accepted_version)s::bigint,
    case when %(accepted_version)s::bigint is not null then %(at)s::timestamptz end,
    coalesce(%(acked_version)s::bigint, 0),
    %(acked_visible)s::boolean,
    case when %(acked_version)s::bigint is not null then %(at)s::timestamptz end,
    %(observed_version)s::bigint,
    %(observed_visible)s::boolean,
    %(observed_published)s::boolean,
    case when %(observed)s::boolean then %(at)s::timestamptz end,
    coalesce(%(attempts)s::integer, 0),
    case when %(attempts)s::integer is not null then %(at)s::timestamptz end,
    %(code)s::text,
    %(request_id)s::text
from public.peer_mentors as mentor
where mentor.id = %(mentor_id)s
on conflict (mentor_id) do update set
    accepted_version = greatest(state.accepted_version, excluded.accepted_version),
    accepted_at = case
        when excluded.accepted_version > coalesce(state.accepted_version, 0)
            then excluded.accepted_at
        else state.accepted_at
    end,
    acked_version = greatest(state.acked_version, excluded.acked_version),
    acked_visible = case
        when excluded.acked_version > state.acked_version then excluded.acked_visible
        else state.acked_visible
    end,
    acked_at = case
        when excluded.acked_version > state.acked_version then excluded.acked_at
        else state.acked_at
    end,
    observed_version = case
        when excluded.observed_at >= coalesce(state.observed_at, excluded.observed_at)
            then excluded.observed_version
        else state.observed_version
    end,
    observed_visible = case
        when excluded.observed_at >= coalesce(state.observed_at, excluded.observed_at)
            then excluded.observed_visible
        else state.observed_visible
    end,
    observed_published = case
        when excluded.observed_at >= coalesce(state.observed_at, excluded.observed_at)
            then excluded.observed_published
        else state.observed_published
    end,
    observed_at = greatest(state.observed_at, excluded.observed_at),
    attempts = coalesce(%(attempts)s::integer, state.attempts),
    last_attempt_at = greatest(state.last_attempt_at, excluded.last_attempt_at),
    last_code = coalesce(excluded.last_code, state.last_code),
    last_request_id = coalesce(excluded.last_request_id, state.last_request_id)
