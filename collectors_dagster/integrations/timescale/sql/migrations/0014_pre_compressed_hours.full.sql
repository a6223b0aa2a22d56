-- Hours are compressed like samples: they stay for a year and more, when the samples have long gone. Days are not: a
-- chunk of theirs holds so few of each series that nothing is won.
alter materialized view core.sample_1h set (
    timescaledb.enable_columnstore = true,
    timescaledb.segmentby = 'tenant_key, series_id',
    timescaledb.orderby = 'bucket'
);
