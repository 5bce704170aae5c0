-- supabase_shim: what the platform provides and the application leans on, for a plain PostgreSQL.
-- why: only what is missing is created, so it does nothing on the platform and may run twice. Roles
--      belong to the cluster: two databases prepared at once race for them, hence the handlers.
set local lock_timeout = '5s';

do $$
begin
    if not exists (select from pg_roles where rolname = 'anon') then
        create role anon nologin noinherit;
    end if;
exception when duplicate_object or unique_violation then null;
end
$$;

do $$
begin
    if not exists (select from pg_roles where rolname = 'authenticated') then
        create role authenticated nologin noinherit;
    end if;
exception when duplicate_object or unique_violation then null;
end
$$;

do $$
begin
    if not exists (select from pg_roles where rolname = 'service_role') then
        create role service_role nologin noinherit bypassrls;
    end if;
exception when duplicate_object or unique_violation then null;
end
$$;

do $$
begin
    if not exists (select from pg_roles where rolname = 'authenticator') then
        create role authenticator login noinherit;
    end if;
exception when duplicate_object or unique_violation then null;
end
$$;

do $$
declare
    missing text;
begin
    foreach missing in array array['anon', 'authenticated', 'service_role'] loop
        -- asked first: a repeated grant would write pg_auth_members and race with its twin
        if not pg_has_role('authenticator', missing, 'member') then
            begin
                execute format('grant %I to authenticator', missing);
            exception when unique_violation or internal_error then null;
            end;
        end if;
    end loop;
end
$$;

create schema if not exists auth;

create table if not exists auth.users (
    id uuid primary key,
    email text,
    raw_app_meta_data jsonb,
    created_at timestamptz default now()
);

do $$
begin
    if to_regprocedure('auth.jwt()') is null then
        create function auth.jwt() returns jsonb
        language sql stable set search_path = ''
        as $f$
            select coalesce(
                nullif(current_setting('request.jwt.claim', true), ''),
                nullif(current_setting('request.jwt.claims', true), '')
            )::jsonb
        $f$;
    end if;
    if to_regprocedure('auth.uid()') is null then
        create function auth.uid() returns uuid
        language sql stable set search_path = ''
        as $f$
            select nullif(coalesce(
                nullif(current_setting('request.jwt.claim.sub', true), ''),
                nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
            ), '')::uuid
        $f$;
    end if;
    if to_regprocedure('auth.role()') is null then
        create function auth.role() returns text
        language sql stable set search_path = ''
        as $f$
            select coalesce(
                nullif(current_setting('request.jwt.claim.role', true), ''),
                nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'
            )
        $f$;
    end if;
end
$$;

do $$
begin
    -- on the platform both schemas carry these grants and belong to another role
    if not has_schema_privilege('authenticated', 'auth', 'usage') then
        grant usage on schema auth to anon, authenticated, service_role;
    end if;
    if not has_schema_privilege('service_role', 'public', 'usage') then
        grant usage on schema public to anon, authenticated, service_role;
    end if;
end
$$;

create schema if not exists vault;

do $$
begin
    if to_regclass('vault.decrypted_secrets') is null then
        create table if not exists vault._plain (
            id uuid primary key default gen_random_uuid(),
            name text unique,
            description text default '',
            secret text not null,
            created_at timestamptz default now(),
            updated_at timestamptz default now()
        );
        create view vault.decrypted_secrets as
        select id, name, description, secret, secret as decrypted_secret, created_at, updated_at
        from vault._plain;
        revoke all on vault._plain, vault.decrypted_secrets from public, anon, authenticated;
        grant usage on schema vault to service_role;
        grant select on vault.decrypted_secrets to service_role;
    end if;
end
$$;
