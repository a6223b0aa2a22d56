-- name: shape
-- What the tables of samples and of their hours are (pg_class.relkind): that tells the edition of the schema.
select
    (select relkind::text from pg_class where oid = to_regclass('core.sample')),
    (select relkind::text from pg_class where oid = to_regclass('core.sample_1h'));
