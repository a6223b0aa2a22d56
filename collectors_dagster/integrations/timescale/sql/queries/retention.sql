-- name: set_horizons
-- Says from when on a tenant's samples and hours are kept; a horizon never goes back.
update core.tenant set
    raw_kept_from = greatest(raw_kept_from, %(raw_from)s::timestamptz),
    hourly_kept_from = greatest(hourly_kept_from, %(hourly_from)s::timestamptz)
where tenant_key = %(tenant_key)s::integer
returning raw_kept_from;

-- name: prune_features
-- Forgets features.
delete from core.feature where tenant_key = %(tenant_key)s::integer and ts < %(before)s::timestamptz;

-- name: prune_scores
-- Forgets scored minutes.
delete from core.score where tenant_key = %(tenant_key)s::integer and ts < %(before)s::timestamptz;

-- name: prune_forecasts
-- Forgets forecasts.
delete from core.forecast where tenant_key = %(tenant_key)s::integer and ts < %(before)s::timestamptz;

-- name: prune_health
-- Forgets health reports.
delete from core.health where tenant_key = %(tenant_key)s::integer and ts < %(before)s::timestamptz;

-- name: prune_details
-- Forgets the full resolution of chosen windows.
delete from core.sample_detail where tenant_key = %(tenant_key)s::integer and minute < %(before)s::timestamptz;

-- name: prune_incidents
-- Forgets resolved incidents, with their events and alerts.
delete from core.incident where tenant_key = %(tenant_key)s::integer and resolved_at < %(before)s::timestamptz;

-- name: prune_feedback
-- Forgets what was said about incidents that are forgotten.
delete from core.feedback where tenant_key = %(tenant_key)s::integer and ended_at < %(before)s::timestamptz;

-- name: prune_planted
-- Forgets planted incidents.
delete from core.planted_incident where tenant_key = %(tenant_key)s::integer and ended_at < %(before)s::timestamptz;

-- name: prune_bins
-- Forgets how the samples of hours were spread.
delete from core.sample_1h_bins where tenant_key = %(tenant_key)s::integer and bucket < %(before)s::timestamptz;

-- name: prune_deliveries
-- Forgets the hourly books of deliveries.
delete from core.delivery where tenant_key = %(tenant_key)s::integer and hour < %(before)s::timestamptz;

-- name: prune_ledger
-- Forgets the books of loads.
delete from core.load where tenant_key = %(tenant_key)s::integer and window_end < %(before)s::timestamptz;

-- name: prune_clock_events
-- Forgets what happened to the hosts' clocks.
delete from core.clock_event where tenant_key = %(tenant_key)s::integer and ts < %(before)s::timestamptz;

-- name: prune_refusals
-- Forgets what was not stored.
delete from core.refusal where tenant_key = %(tenant_key)s::integer and hour < %(before)s::timestamptz;

-- name: prune_agents
-- Forgets agents that have not been seen for long; one that comes back introduces itself anew.
delete from core.agent where seen_at < %(before)s::timestamptz;

-- name: prune_cursors
-- Forgets how far the spools of forgotten agents were delivered. Were such a spool to come back, its samples would
-- meet themselves in the table; those that retention took would be taken again.
delete from core.agent_cursor c
where c.tenant_key = %(tenant_key)s::integer and c.acked_at < %(before)s::timestamptz
  and not exists (select from core.agent a where a.agent_id = c.agent_id);
