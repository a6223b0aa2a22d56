-- name: upsert
-- Adds a tenant, or brings its description up to date and makes it active again.
insert into core.tenant (tenant_id, name, tier, synthetic)
values (%(tenant_id)s::text, %(name)s::text, %(tier)s::text, %(synthetic)s::boolean)
on conflict (tenant_id) do update
set name = excluded.name, tier = excluded.tier, synthetic = excluded.synthetic, status = 'active'
where (core.tenant.name, core.tenant.tier, core.tenant.synthetic, core.tenant.status)
    is distinct from (excluded.name, excluded.tier, excluded.synthetic, 'active');

-- name: introduce
-- Adds a tenant that is not there yet; one that is stays as its owner left it, active or removed.
insert into core.tenant (tenant_id, name, tier, synthetic)
values (%(tenant_id)s::text, %(name)s::text, %(tier)s::text, %(synthetic)s::boolean)
on conflict (tenant_id) do nothing;

-- name: remove_others
-- Marks tenants that are no longer configured; their data stay until retention takes them.
update core.tenant set status = 'removed'
where status = 'active' and tenant_id <> all (%(tenant_ids)s::text[]);

-- name: lock
-- Lets one synchronisation run at a time, until its transaction ends.
select pg_advisory_xact_lock(hashtextextended('collectors:tenants', 0));

-- name: ids
-- Active tenants in insertion order.
select tenant_id from core.tenant where status = 'active' order by tenant_key;

-- name: key
-- The surrogate key of a tenant, active or not.
select tenant_key from core.tenant where tenant_id = %(tenant_id)s::text;
