-- Dashboards ask for a metric of all hosts; the unique index of series begins with the host.
create index series_by_metric on core.series (tenant_key, metric);
