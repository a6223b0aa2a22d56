-- Everything that is measured: hosts, metrics, labels and units.
select host, collector_name, metric_name, labels, unit, kind
from series
order by host, collector_name, metric_name, labels
