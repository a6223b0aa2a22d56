-- name: enqueue
-- Notes alerts that are to be sent, as failed with no attempt yet; those that are known stay as they are.
insert into core.alert (event_id, target, status, attempts)
select event_id, target, 'failed', 0 from unnest(%(event_ids)s::bigint[], %(targets)s::text[]) as wanted (event_id, target)
on conflict (event_id, target) do nothing;

-- name: claim
-- Takes an alert for sending: a new one, one that failed, or one whose sender has been silent for a minute.
insert into core.alert as a (event_id, target, status, attempts)
values (%(event_id)s::bigint, %(target)s::text, 'pending', 1)
on conflict (event_id, target) do update set status = 'pending', attempts = a.attempts + 1, updated_at = now()
where a.status = 'failed' or (a.status = 'pending' and a.updated_at < now() - interval '1 minute')
returning attempts;

-- name: finish
-- Books how sending ended. What is delivered stays delivered.
update core.alert set
    status = case when %(error)s::text is null then 'delivered' else 'failed' end,
    last_error = %(error)s::text, updated_at = now()
where event_id = %(event_id)s::bigint and target = %(target)s::text and status <> 'delivered';

-- name: delivered_at
-- When the first target was told of an event; null if none was.
select min(updated_at) from core.alert where event_id = %(event_id)s::bigint and status = 'delivered';

-- name: pending
-- Alerts about events since an instant that can be claimed again, oldest first.
select a.target, a.attempts, a.updated_at, a.last_error, e.event_id, e.kind, e.at, e.snapshot
from core.alert a
join core.incident_event e using (event_id)
where (a.status = 'failed' or (a.status = 'pending' and a.updated_at < now() - interval '1 minute'))
  and e.at > %(since)s::timestamptz
order by a.event_id, a.target limit %(limit)s::integer;
