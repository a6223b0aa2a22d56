-- Mean, smallest and largest value of every metric per host and hour.
select bucket, metadata ->> 'host' as host, collector_name, metric_name,
       sum(avg_value * sample_count) / sum(sample_count) as avg_value,
       min(min_value) as min_value, max(max_value) as max_value, sum(sample_count)::bigint as sample_count
from metrics_hourly
where bucket >= %(start)s and bucket < %(end)s
group by 1, 2, 3, 4
order by 1, 2, 3, 4
