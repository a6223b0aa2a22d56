-- Hourly and daily aggregates, computed by the platform.
create table core.sample_1h (
    tenant_key  integer not null,
    series_id   integer not null,
    bucket      timestamptz not null,
    n           bigint not null,
    sum         double precision not null,
    min         double precision not null,
    max         double precision not null,
    sumsq       double precision not null,
    last        double precision not null,
    primary key (tenant_key, series_id, bucket)
);

create table core.sample_1d (like core.sample_1h including all);
