-- name: lock
-- Lets one failure of a tenant be recorded at a time, until the transaction ends.
select pg_advisory_xact_lock(hashtextextended('collectors:failures', %(tenant_key)s::integer));

-- name: record
-- Records a failure; nothing comes back if it is known, or if the same thing failed within the quiet time.
insert into core.failure (tenant_key, key, run_id, what, error, url, at, kind)
select %(tenant_key)s::integer, %(key)s::text, %(run_id)s::text, %(what)s::text, %(error)s::text, %(url)s::text,
       %(at)s::timestamptz, %(kind)s::text
where not exists (
    select from core.failure
    where tenant_key = %(tenant_key)s::integer and what = %(what)s::text and kind = %(kind)s::text
      and at > %(at)s::timestamptz - %(quiet)s::interval and at <= %(at)s::timestamptz
)
on conflict (tenant_key, key) do nothing
returning failure_id;

-- name: enqueue
-- Notes the alerts about a failure, as failed with no attempt yet.
insert into core.failure_alert (failure_id, target, status, attempts)
select %(failure_id)s::bigint, target, 'failed', 0 from unnest(%(targets)s::text[]) as wanted (target)
on conflict (failure_id, target) do nothing;

-- name: claim
-- Takes an alert for sending: a new one, one that failed, or one whose sender has been silent for a minute.
insert into core.failure_alert as a (failure_id, target, status, attempts)
values (%(failure_id)s::bigint, %(target)s::text, 'pending', 1)
on conflict (failure_id, target) do update set status = 'pending', attempts = a.attempts + 1, updated_at = now()
where a.status = 'failed' or (a.status = 'pending' and a.updated_at < now() - interval '1 minute')
returning attempts;

-- name: finish
-- Books how sending ended. What is delivered stays delivered.
update core.failure_alert set
    status = case when %(error)s::text is null then 'delivered' else 'failed' end,
    last_error = %(error)s::text, updated_at = now()
where failure_id = %(failure_id)s::bigint and target = %(target)s::text and status <> 'delivered';

-- name: pending
-- Alerts of failures since an instant that can be claimed again, oldest first.
select a.target, a.attempts, a.updated_at, a.last_error, f.failure_id, t.tenant_id, f.key, f.run_id, f.what, f.error, f.at, f.url,
       f.kind
from core.failure_alert a
join core.failure f using (failure_id)
join core.tenant t using (tenant_key)
where (a.status = 'failed' or (a.status = 'pending' and a.updated_at < now() - interval '1 minute'))
  and f.at > %(since)s::timestamptz
order by a.failure_id, a.target limit %(limit)s::integer;

-- name: forget
-- Removes failures from before an instant, with what was told about them.
delete from core.failure where at < %(before)s::timestamptz;
