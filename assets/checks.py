"""Asset checks: each looks at all tenants at once, on a schedule of its own.

Not per partition and not inside the chain: what matters most is to notice that a tenant's data stopped or that its
runs never happened, and a check that only runs when its asset does cannot see that.
"""

from collections.abc import Callable
from datetime import timedelta

import dagster as dg

from assets.verdicts import NOT_JUDGED, Verdict, judged
from collectors_dagster.integrations.timescale import Store
from collectors_dagster.records import ScoredMinute, Window
from collectors_dagster.tenants import Tenant
from resources.deployment import Deployment

STALE = timedelta(minutes=5)
DEAD = timedelta(minutes=30)
LEAST_COMPLETENESS = 0.95
LEAST_MINUTES = 30
"""Fewer minutes or points than this say nothing about a distribution."""
LEAST_MINUTES_OF_A_SPREAD = 720
"""A spread over the scale needs more: half a day."""
MOST_ANOMALOUS = 0.05
LEAST_AGREEMENT = 0.95
LEAST_COVERAGE_95 = 0.85
HEALTH_AGE = timedelta(hours=2, minutes=15)

Judge = Callable[[Store, Deployment, Tenant], Verdict]


def _check(asset: str, description: str) -> Callable[[Judge], dg.AssetChecksDefinition]:
    """Make a check of a rule for one tenant; it is called as the rule is."""

    def made(rule: Judge) -> dg.AssetChecksDefinition:
        @dg.asset_check(asset=asset, name=rule.__name__, description=description)
        def check(store: dg.ResourceParam[Store], deployment: dg.ResourceParam[Deployment]) -> dg.AssetCheckResult:
            return judged(deployment.directory().tenants, lambda tenant: rule(store, deployment, tenant))

        return check

    return made


def _observed(tenant: Tenant) -> bool:
    """Whether live data are expected of a tenant."""
    return tenant.system.enabled and not tenant.synthetic


@_check("collection_run", "The newest sample of every host is younger than five minutes.")
def fresh(store: Store, deployment: Deployment, tenant: Tenant) -> Verdict:
    """Judge the age of the newest samples."""
    if not _observed(tenant):
        return Verdict(None, "no live data are expected")
    now, latest = deployment.clock.now(), store.samples.latest(tenant.id)
    if not latest:
        return Verdict(passed=False, said="nothing has ever arrived: is an agent running?", serious=True)
    allowed = max(STALE, timedelta(seconds=5 * tenant.system.collection_interval_seconds))
    ages = {host: now - at for host, at in latest.items()}
    said = ", ".join(f"{host}: {age.total_seconds():.0f} s" for host, age in sorted(ages.items()))
    oldest = max(ages.values())
    return Verdict(oldest <= allowed, said, serious=oldest > DEAD)


@_check("collection_run", "Of what the running sources should have delivered in the last hour, 95 % arrived.")
def complete(store: Store, deployment: Deployment, tenant: Tenant) -> Verdict:
    """Judge the share of samples that arrived, source by source."""
    end = (deployment.clock.now() - timedelta(minutes=1)).replace(second=0, microsecond=0)
    window = Window(end - timedelta(hours=1), end)
    reports = store.ledger.collection_report(tenant.id, window, tenant.system.collection_interval_seconds)
    expected = sum(one.expected for one in reports)
    if not expected or not _observed(tenant):
        return Verdict(None, NOT_JUDGED)
    shares = {f"{one.host}/{one.collector}": one.received / one.expected for one in reports if one.expected}
    worst = min(shares, key=lambda source: shares[source])
    return Verdict(shares[worst] >= LEAST_COMPLETENESS, f"lowest: {worst} {100 * shares[worst]:.1f} %")


@_check("collection_run", "All that came in the last day could be stored.")
def storable(store: Store, deployment: Deployment, tenant: Tenant) -> Verdict:
    """Judge whether a source sends what cannot be right: broken values, a wrong clock, another unit."""
    refused = store.ledger.refused(tenant.id, _last_day(deployment))
    said = "; ".join(f"{one.samples} of {one.host}/{one.collector}: {one.reason}" for one in refused[:3])
    return Verdict(not refused, said or "nothing was refused")


@_check("metrics_hourly", "Yesterday's hours add up to exactly the samples that were counted for yesterday.")
def adds_up(store: Store, deployment: Deployment, tenant: Tenant) -> Verdict:
    """Compare what the same run wrote to the books for collection and for the hours."""
    yesterday = Window.of_day(f"{deployment.clock.now() - timedelta(days=1):%Y-%m-%d}")
    counted = {one.run_id: one.rows for one in store.ledger.entries(tenant.id, "collection_run", yesterday)}
    rolled = store.ledger.entries(tenant.id, "metrics_hourly", yesterday)
    pairs = [(counted[one.run_id], int(one.detail["raw_rows"])) for one in rolled if one.run_id in counted]
    if not pairs:
        return Verdict(None, NOT_JUDGED)
    samples, in_hours = pairs[-1]
    return Verdict(samples == in_hours, f"{samples} samples, {in_hours} in the hours", serious=True)


@_check("feature_table", "Rows of the last day have today's columns, lie on whole minutes and hold no infinite value.")
def well_formed(store: Store, deployment: Deployment, tenant: Tenant) -> Verdict:
    """Judge the shape and values of the newest rows."""
    from collectors_dagster.features.axis import malformed
    from collectors_dagster.features.feature_set import COLUMNS, VERSION

    frames = store.features.read(tenant.id, _last_day(deployment), version=VERSION)
    if not frames:
        return Verdict(None, NOT_JUDGED)
    problems = [problem for frame in frames for problem in malformed(frame, COLUMNS)]
    rows = sum(len(frame.ts) for frame in frames)
    return Verdict(not problems, "; ".join(problems) or f"{rows} rows, {len(COLUMNS)} columns", serious=True)


@_check("anomaly_scores", "Of the last day's minutes, at most 5 % reach the tenant's threshold on any host.")
def plausible(store: Store, deployment: Deployment, tenant: Tenant) -> Verdict:
    """Judge how often each host's scores alert: an alarm that always rings says nothing."""
    scored = store.scores.read(tenant.id, "batch", _last_day(deployment))
    threshold = tenant.system.anomaly_threshold
    by_host: dict[str, list[bool]] = {}
    for minute in scored:
        by_host.setdefault(minute.host, []).append(minute.score >= threshold)
    shares = {host: sum(hits) / len(hits) for host, hits in by_host.items() if len(hits) >= LEAST_MINUTES}
    if not shares:
        return Verdict(None, NOT_JUDGED)
    said = ", ".join(f"{host}: {100 * share:.1f} %" for host, share in sorted(shares.items()))
    return Verdict(max(shares.values()) <= MOST_ANOMALOUS, said)


@_check("anomaly_scores", "The live scorer and the scores of record call 95 % of the last day's minutes alike.")
def agrees_with_stream(store: Store, deployment: Deployment, tenant: Tenant) -> Verdict:
    """Compare both sources minute by minute, where both have scored with the same model."""
    window, threshold = _last_day(deployment), tenant.system.anomaly_threshold
    stream = {_minute_of(one): one for one in store.scores.read(tenant.id, "stream", window)}
    pairs = [
        (one.score, stream[_minute_of(one)].score)
        for one in store.scores.read(tenant.id, "batch", window)
        if _minute_of(one) in stream and stream[_minute_of(one)].model_version == one.model_version
    ]
    if len(pairs) < LEAST_MINUTES:
        return Verdict(None, f"{len(pairs)} minutes in common: {NOT_JUDGED}")
    alike = sum((batch >= threshold) == (live >= threshold) for batch, live in pairs) / len(pairs)
    return Verdict(alike >= LEAST_AGREEMENT, f"{100 * alike:.1f} % of {len(pairs)} minutes alike")


@_check(
    "anomaly_scores", "On no host are the last day's scores spread otherwise than in the week before (index < 0.2)."
)
def steady(store: Store, deployment: Deployment, tenant: Tenant) -> Verdict:
    """Judge drift by the population stability index: what is normal has moved, or the model has."""
    from collectors_dagster.models.drift import STABLE_BELOW, stability_of_counts

    day = _last_day(deployment)
    week = Window(day.start - timedelta(days=7), day.start)
    before = store.scores.spread(tenant.id, "batch", week)
    indices = {
        host: stability_of_counts(before[host], counts)
        for host, counts in store.scores.spread(tenant.id, "batch", day).items()
        if host in before and min(sum(before[host]), sum(counts)) >= LEAST_MINUTES_OF_A_SPREAD
    }
    if not indices:
        return Verdict(None, NOT_JUDGED)
    said = ", ".join(f"{host}: {index:.2f}" for host, index in sorted(indices.items()))
    return Verdict(max(indices.values()) < STABLE_BELOW, said)


@_check("load_forecast", "Of the values forecast for the last day, at least 85 % lie in their 95 % interval.")
def covers(store: Store, deployment: Deployment, tenant: Tenant) -> Verdict:
    """Judge the promised intervals by what was measured."""
    from collectors_dagster.features.axis import value_at
    from collectors_dagster.features.feature_set import VERSION, levels
    from collectors_dagster.models.cells import FORECAST_SIGNALS

    window = _last_day(deployment)
    measured = [levels(frame) for frame in store.features.read(tenant.id, window, version=VERSION)]
    hits = [
        point.low95 <= value <= point.high95
        for frame in measured
        for signal in FORECAST_SIGNALS
        for point in store.forecasts.read(tenant.id, window, frame.host, signal)
        if (value := value_at(frame, signal, point.ts)) is not None
    ]
    if len(hits) < LEAST_MINUTES:
        return Verdict(None, f"{len(hits)} forecasts have come due: {NOT_JUDGED}")
    covered = sum(hits) / len(hits)
    return Verdict(covered >= LEAST_COVERAGE_95, f"{100 * covered:.1f} % of {len(hits)} values")


@_check("health_report", "Every host that delivers has a health report of the last two hours.")
def up_to_date(store: Store, deployment: Deployment, tenant: Tenant) -> Verdict:
    """Judge the age of each live host's newest report."""
    now = deployment.clock.now()
    live = [host for host, at in store.samples.latest(tenant.id).items() if now - at <= DEAD]
    if not live or not _observed(tenant):
        return Verdict(None, NOT_JUDGED)
    reported = {one.host: one.ts for one in store.health.latest(tenant.id)}
    old = [host for host in sorted(live) if host not in reported or now - reported[host] > HEALTH_AGE]
    return Verdict(not old, f"without a report: {', '.join(old)}" if old else f"{len(live)} hosts")


CHECKS = [
    *(fresh, complete, storable, adds_up, well_formed),
    *(plausible, agrees_with_stream, steady, covers, up_to_date),
]


def _last_day(deployment: Deployment) -> Window:
    now = deployment.clock.now()
    return Window(now - timedelta(days=1), now)


def _minute_of(scored: ScoredMinute) -> tuple[str, int]:
    """Return host and nearest full minute: the live scorer looks between full minutes, too."""
    return scored.host, round(scored.ts.timestamp() / 60)
