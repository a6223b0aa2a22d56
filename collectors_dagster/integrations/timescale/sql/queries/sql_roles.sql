-- name: lock
-- Lets one change of roles and rights run at a time, until its transaction ends.
select pg_advisory_xact_lock(hashtextextended('collectors:sql-roles', 0));

-- name: may_create
-- Who we are, whether we may create roles, and whether this database is ours to close.
select current_user, current_database(), r.rolcreaterole or r.rolsuper, d.datdba = r.oid
from pg_catalog.pg_roles r, pg_catalog.pg_database d
where r.rolname = current_user and d.datname = current_database();

-- name: is_open
-- Whether everybody with a login may still connect to this database or make temporary objects in it.
select has_database_privilege('public', current_database(), 'connect')
    or has_database_privilege('public', current_database(), 'temporary');

-- name: known
-- Whether a role exists, and whether it was made here.
select exists (select from pg_catalog.pg_roles where rolname = %(role)s::name),
       exists (select from core.tenant_member where role_name = %(role)s::name and created_here),
       exists (select from core.staff_member where role_name = %(role)s::name);

-- name: add_member
-- Lets a role see a tenant; again: until then.
insert into core.tenant_member (role_name, tenant_key, created_here, expires_at)
values (%(role)s::name, %(tenant_key)s::integer, true, now() + %(lifetime)s::interval)
on conflict (role_name, tenant_key) do update set expires_at = excluded.expires_at;

-- name: remove_member
-- Takes a tenant from a role's sight; tells whether the role was made here.
delete from core.tenant_member
where role_name = %(role)s::name and tenant_key = %(tenant_key)s::integer
returning created_here;

-- name: other_memberships
-- How many tenants a role still sees.
select count(*) from core.tenant_member where role_name = %(role)s::name;

-- name: members
-- Who may see which tenant.
select m.role_name::text, t.tenant_id, m.granted_at, m.expires_at
from core.tenant_member m
join core.tenant t using (tenant_key)
order by t.tenant_key, m.role_name;

-- name: add_staff
-- Lets a role see every tenant.
insert into core.staff_member (role_name, rank) values (%(role)s::name, %(rank)s::text);

-- name: remove_staff
-- Takes that from it.
delete from core.staff_member where role_name = %(role)s::name;

-- name: staff
-- The staff's roles.
select role_name::text, rank from core.staff_member order by role_name;

-- name: left_over
-- Roles of single queries whose process was killed before it could drop them.
select m.role_name::text, t.tenant_id
from core.tenant_member m
join core.tenant t using (tenant_key)
where m.created_here and m.role_name like 'sql\_query\_%%' and m.expires_at < now();

-- name: cut_off
-- Ends a role's sessions.
select pg_terminate_backend(pid) from pg_catalog.pg_stat_activity where usename = %(role)s::name;

-- name: strengthen
-- Makes a chosen password's verifier dear to guess from, where the server says how dear (PostgreSQL 16).
select set_config(name, '4096', true) from pg_catalog.pg_settings where name = 'scram_iterations';
