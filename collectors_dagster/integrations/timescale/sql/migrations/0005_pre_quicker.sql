-- Dropping a day waits for every reader of the samples, and everybody waits behind it: give up early.
alter function core.drop_raw_samples(integer, timestamptz) set lock_timeout = '3s';

-- What was said last about an instant is found without reading all that was ever said.
alter table core.forecast
    drop constraint forecast_pkey,
    add primary key (tenant_key, host, signal, ts, issued_at);

-- Forgetting an incident finds its events.
create index incident_event_by_incident on core.incident_event (incident_id);
