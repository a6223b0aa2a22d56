-- Hosts with their series and their newest hour.
select s.metadata ->> 'host' as host, count(distinct s.series_id) as series, max(s.bucket) as newest_hour
from metrics_hourly s
where s.bucket >= %(start)s and s.bucket < %(end)s
group by 1
order by 1
