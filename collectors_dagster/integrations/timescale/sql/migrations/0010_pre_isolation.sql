-- Login roles of the staff: they see every tenant through "api".
create table core.staff_member (
    role_name   name primary key,
    rank        text not null check (rank in ('reader', 'operator', 'owner'))
);

alter table core.tenant_member
    add column created_here boolean not null default false,  -- the role is ours to drop
    add column granted_at   timestamptz not null default now(),
    add column expires_at   timestamptz;  -- null: until it is revoked

drop view api.series, api.metrics, api.metrics_hourly, api.metrics_detail;

-- No statistics of names: estimates would tell whether a guessed one exists. "Alter type" to the same type
-- forgets those that were gathered; nothing is rewritten.
alter table core.tenant alter column tenant_id type text;
alter table core.tenant alter column tenant_id set statistics 0;
alter table core.tenant alter column name type text;
alter table core.tenant alter column name set statistics 0;
alter table core.series alter column host type text;
alter table core.series alter column host set statistics 0;
alter table core.series alter column collector type text;
alter table core.series alter column collector set statistics 0;
alter table core.series alter column metric type text;
alter table core.series alter column metric set statistics 0;
alter table core.series alter column labels type jsonb;
alter table core.series alter column labels set statistics 0;
alter table core.series alter column unit type text;
alter table core.series alter column unit set statistics 0;
alter table core.series alter column kind type text;
alter table core.series alter column kind set statistics 0;

-- Whom the connected role may see. By the role that logged in, which no statement can change: not by the
-- current one, nor by a setting, which whoever writes SQL simply sets.
create view core.visible_tenant as
select t.tenant_key, t.tenant_id
from core.tenant t
where t.tenant_key = any (array(
    select m.tenant_key from core.tenant_member m
    where m.role_name = session_user and (m.expires_at is null or m.expires_at > now())
))
union
select t.tenant_key, t.tenant_id
from core.tenant t
where exists (select from core.staff_member s where s.role_name = session_user);

-- Their series. The OFFSET is a wall: no condition of a reader passes it.
create view core.visible_series as
select s.series_id, s.tenant_key, t.tenant_id, s.host, s.collector, s.metric, s.labels, s.unit, s.kind
from core.series s
join core.visible_tenant t using (tenant_key)
where s.tenant_key = any (array(select v.tenant_key from core.visible_tenant v))
offset 0;

-- What tenants may see. Nobody has rights on "core"; "api" is open to the roles that were let in one by one.
--
-- EXPLAIN ANALYZE shows what each step touched, and even whether it was executed at all: a condition that meets
-- foreign rows before the tenant's does tells whether a guess is right, and so do the planner's estimates. Hence
-- names lie behind the wall of core.visible_series and have no statistics, and numbers go through an expression
-- that is volatile: past that no condition is pushed either. Times are not hidden: a reader may learn that the
-- platform holds a row of some second, of nobody knows whom.
create view api.series with (security_barrier) as
select
    s.series_id,
    s.tenant_id,
    s.host,
    s.collector as collector_name,
    s.metric as metric_name,
    s.labels,
    s.unit,
    s.kind
from core.visible_series s;

create view api.metrics with (security_barrier) as
select
    p.ts as "timestamp",
    s.collector as collector_name,
    s.metric as metric_name,
    case when random() is not null then p.value end as metric_value,
    s.tenant_id,
    s.labels || jsonb_build_object('host', s.host, 'unit', s.unit, 'kind', s.kind) as metadata,
    p.series_id
from core.sample p
join core.visible_series s on s.series_id = p.series_id and s.tenant_key = p.tenant_key
where p.tenant_key = any (array(select v.tenant_key from core.visible_tenant v));

create view api.metrics_hourly with (security_barrier) as
select
    h.bucket,
    s.collector as collector_name,
    s.metric as metric_name,
    case when random() is not null then h.sum / h.n end as avg_value,
    case when random() is not null then h.max end as max_value,
    case when random() is not null then h.min end as min_value,
    case when random() is not null then h.n end as sample_count,
    s.tenant_id,
    s.labels || jsonb_build_object('host', s.host, 'unit', s.unit, 'kind', s.kind) as metadata,
    h.series_id
from core.sample_1h h
join core.visible_series s on s.series_id = h.series_id and s.tenant_key = h.tenant_key
where h.tenant_key = any (array(select v.tenant_key from core.visible_tenant v));

create view api.metrics_daily with (security_barrier) as
select
    h.bucket,
    s.collector as collector_name,
    s.metric as metric_name,
    case when random() is not null then h.sum / h.n end as avg_value,
    case when random() is not null then h.max end as max_value,
    case when random() is not null then h.min end as min_value,
    case when random() is not null then h.n end as sample_count,
    s.tenant_id,
    s.labels || jsonb_build_object('host', s.host, 'unit', s.unit, 'kind', s.kind) as metadata,
    h.series_id
from core.sample_1d h
join core.visible_series s on s.series_id = h.series_id and s.tenant_key = h.tenant_key
where h.tenant_key = any (array(select v.tenant_key from core.visible_tenant v));

create view api.metrics_detail with (security_barrier) as
select
    d.minute + u.microseconds * interval '1 microsecond' as "timestamp",
    s.collector as collector_name,
    s.metric as metric_name,
    u.value as metric_value,
    s.tenant_id,
    s.labels || jsonb_build_object('host', s.host, 'unit', s.unit, 'kind', s.kind) as metadata,
    d.series_id
from core.sample_detail d
cross join lateral unnest(d.offsets, d."values") as u (microseconds, value)
join core.visible_series s on s.series_id = d.series_id and s.tenant_key = d.tenant_key
where d.tenant_key = any (array(select v.tenant_key from core.visible_tenant v));

-- The right to read is no use without the right to look into the schema, and that is given to one role at a time.
grant select on all tables in schema api to public;

revoke usage on schema api from public;
-- Functions are nobody's but ours, those to come as well.
revoke execute on all functions in schema core from public;
alter default privileges revoke execute on functions from public;
