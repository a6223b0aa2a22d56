"""The resident sampler of a host: sampling loop, durable spool, delivery.

Sampling and delivery are separate. The main thread looks at the host once a second and appends to the spool; a
second thread reads the spool and delivers it at each tenant's resolution, exactly once in the table. The spool stays
on disk for a day whether delivered or not (the flight recorder). No numpy, no models, no Dagster in this process.
"""
