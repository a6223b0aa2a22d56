-- What only a superuser can take away, once for each database; the embedded server does it by itself. Everybody who
-- may log in may otherwise hold the advisory locks that loads and migrations wait for, and fill the disk with large
-- objects. The database's owner keeps the right.
do '
declare
    f regprocedure;
    owner name := (select pg_get_userbyid(datdba) from pg_database where datname = current_database());
begin
    for f in
        select oid from pg_proc
        where pronamespace = ''pg_catalog''::regnamespace
          and proname ~ ''^(pg_advisory_.*lock.*|pg_try_advisory_.*|lo_creat|lo_create|lo_from_bytea|lo_open|lo_put|lowrite)$''
    loop
        execute format(''revoke execute on function %s from public'', f);
        execute format(''grant execute on function %s to %I'', f, owner);
    end loop;
end';
