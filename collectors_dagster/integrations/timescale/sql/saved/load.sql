-- Load per processor of each host, minute by minute.
select date_trunc('minute', "timestamp") as minute, metadata ->> 'host' as host,
       avg(metric_value) as mean, max(metric_value) as peak
from metrics
where series_id = any (array(select series_id from series where metric_name = 'load_per_cpu'))
  and "timestamp" >= %(start)s and "timestamp" < %(end)s
group by 1, 2
order by 1, 2
