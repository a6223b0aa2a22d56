-- name: read
-- One account as it is now; "busy" while somebody's request for tokens may be under way.
select client_id, state, reason, scopes, version, refresh_token, access_token, issued_at, expires_at, consented_at,
       not_before, coalesce(attempt_until > clock_timestamp(), false) as busy
from core.spotify_account
where tenant_key = %(tenant_key)s::integer and user_id = %(user_id)s::text;

-- name: introduce
-- Makes the row of a tenant's application; another application than before starts without tokens.
insert into core.spotify_account as a (tenant_key, user_id, client_id)
values (%(tenant_key)s::integer, '', %(client_id)s::text)
on conflict (tenant_key, user_id) do update set
    client_id = excluded.client_id, access_token = null, issued_at = null, expires_at = null, not_before = null,
    attempt = null, attempt_until = null, version = a.version + 1
where a.client_id <> excluded.client_id;

-- name: claim
-- Lets one process ask for tokens, for some seconds of the database's clock. Says whether a request before this one never
-- came to an end. Asked again after the row's lock: of many at once one gets it.
with free as (
    select tenant_key, user_id, attempt is not null as interrupted
    from core.spotify_account
    where tenant_key = %(tenant_key)s::integer and user_id = %(user_id)s::text
      and version = %(version)s::bigint and state = 'connected'
      and (attempt is null or attempt_until <= clock_timestamp())
    for update
)
update core.spotify_account a
set attempt = %(attempt)s::uuid,
    attempt_until = clock_timestamp() + make_interval(secs => %(seconds)s::double precision)
from free
where a.tenant_key = free.tenant_key and a.user_id = free.user_id
returning free.interrupted;

-- name: store
-- Stores what was answered, if no other tokens were stored since; a token that did not come stays. A good answer that comes
-- late undoes what somebody concluded from a bad one.
update core.spotify_account
set version = version + 1,
    refresh_token = coalesce(%(refresh_token)s::bytea, refresh_token),
    access_token = %(access_token)s::bytea,
    issued_at = %(issued_at)s::timestamptz,
    expires_at = %(expires_at)s::timestamptz,
    scopes = coalesce(%(scopes)s::text[], scopes),
    state = 'connected', reason = null, alerted_at = null, not_before = null,
    attempt = null, attempt_until = null
where tenant_key = %(tenant_key)s::integer and user_id = %(user_id)s::text
  and version = %(version)s::bigint and state <> 'leaving'
returning version;

-- name: end
-- Ends a request that brought no tokens, so that others may ask; that it got no answer at all stays on record. Notes the
-- pause that the service asked for.
update core.spotify_account
set attempt = case when %(answered)s::boolean then null else attempt end,
    attempt_until = case when %(answered)s::boolean then null else clock_timestamp() end,
    not_before = coalesce(%(not_before)s::timestamptz, not_before)
where tenant_key = %(tenant_key)s::integer and user_id = %(user_id)s::text and attempt = %(attempt)s::uuid;

-- name: refuse
-- Notes that the service takes the refresh token no more, by whoever asked last, unless there are newer tokens.
update core.spotify_account
set state = 'needs_consent', reason = %(reason)s::text, refresh_token = null, access_token = null,
    attempt = null, attempt_until = null
where tenant_key = %(tenant_key)s::integer and user_id = %(user_id)s::text
  and version = %(version)s::bigint and attempt = %(attempt)s::uuid
returning version;

-- name: expire
-- Notes that consent has ended by the calendar.
update core.spotify_account
set state = 'needs_consent', reason = %(reason)s::text, refresh_token = null, access_token = null,
    attempt = null, attempt_until = null
where tenant_key = %(tenant_key)s::integer and user_id = %(user_id)s::text
  and version = %(version)s::bigint and state = 'connected'
returning version;

-- name: consent
-- Stores what a user has just consented to, whatever was there before.
insert into core.spotify_account as a
    (tenant_key, user_id, client_id, scopes, refresh_token, access_token, issued_at, expires_at, consented_at)
values (%(tenant_key)s::integer, %(user_id)s::text, %(client_id)s::text, %(scopes)s::text[], %(refresh_token)s::bytea,
        %(access_token)s::bytea, %(issued_at)s::timestamptz, %(expires_at)s::timestamptz, %(consented_at)s::timestamptz)
on conflict (tenant_key, user_id) do update set
    client_id = excluded.client_id, scopes = excluded.scopes, refresh_token = excluded.refresh_token,
    access_token = excluded.access_token, issued_at = excluded.issued_at, expires_at = excluded.expires_at,
    consented_at = excluded.consented_at, version = a.version + 1, state = 'connected', reason = null,
    attempt = null, attempt_until = null, not_before = null, warned_at = null, alerted_at = null;

-- name: list
-- The accounts of one tenant, without tokens.
select user_id, client_id, state, reason, scopes, consented_at, issued_at
from core.spotify_account
where tenant_key = %(tenant_key)s::integer and user_id <> ''
order by consented_at, user_id;

-- name: leave
-- Takes the tokens of an account away before its data are deleted.
update core.spotify_account
set state = 'leaving', refresh_token = null, access_token = null, version = version + 1, attempt = null,
    attempt_until = null
where tenant_key = %(tenant_key)s::integer and user_id = %(user_id)s::text and user_id <> ''
returning version;

-- name: forget
-- Forgets an account whose data are deleted, unless its user has connected again meanwhile.
delete from core.spotify_account
where tenant_key = %(tenant_key)s::integer and user_id = %(user_id)s::text and state = 'leaving';

-- name: untold
-- Accounts of active tenants that their tenants have to be told of: consent is needed, or was given before an instant.
select t.tenant_id, a.user_id, a.client_id, a.state, a.reason, a.scopes, a.consented_at, a.issued_at
from core.spotify_account a
join core.tenant t using (tenant_key)
where t.status = 'active' and a.user_id <> ''
  and ((a.state = 'needs_consent' and a.alerted_at is null)
    or (a.state = 'connected' and a.consented_at <= %(consented_before)s::timestamptz and a.warned_at is null))
order by t.tenant_id, a.user_id;

-- name: told
-- Notes that an alert about an account is in its ledger, if the account is still as it was then.
update core.spotify_account
set alerted_at = case when state = 'needs_consent' then %(at)s::timestamptz else alerted_at end,
    warned_at = case when state = 'connected' then %(at)s::timestamptz else warned_at end
where tenant_key = %(tenant_key)s::integer and user_id = %(user_id)s::text and state = %(state)s::text
  and consented_at = %(consented_at)s::timestamptz;
