"""How a tenant's detector did on a day: the challenger beside the champion, and what people said of the incidents."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from assets.champions import ANOMALY
from assets.shown import Metadata, table
from assets.training import SEED
from assets.work import TenantDay

if TYPE_CHECKING:
    from collectors_dagster.integrations.mlflow import ChampionModel
    from collectors_dagster.models.shadow import TrialDay

HISTORY_DAYS = 7
DAY_TAG = "shadow."
"""Version tag, followed by the day: its figures."""


def review_models(day: TenantDay) -> Metadata:
    """Try the challenger on the day once the day is over; when its trial ends, promote it or say why not."""
    if not day.is_over:
        return _note("The day is not over: challengers are tried on whole days.")
    registry, tenant_id = day.tools.registry, day.tenant.id
    champion, challenger = registry.champion(tenant_id, ANOMALY), registry.challenger(tenant_id, ANOMALY)
    if champion is None:
        return _note("Nothing serves yet.")
    return {**_feedback(day, champion), **_trial(day, champion, challenger)}


def _feedback(day: TenantDay, champion: "ChampionModel") -> Metadata:
    """Count what people said of the champion's incidents so far, and write it to its run."""
    from collectors_dagster.monitoring.feedback import precision

    verdicts = day.tools.store.feedback.list(day.tenant.id)
    found = precision([one for one in verdicts if one.model_version == champion.version])
    if found:
        until = day.window.end - timedelta(seconds=1)
        day.tools.registry.note(day.tenant.id, ANOMALY, champion.version, tags={}, metrics=found, at=until)
    said = ", ".join(f"{name} {value:.3g}" for name, value in found.items())
    return {"feedback": dg.MetadataValue.text(said or "Nobody has said anything about its incidents.")}


def _trial(day: TenantDay, champion: "ChampionModel", challenger: "ChampionModel | None") -> Metadata:
    if challenger is None:
        return _note("Nothing challenges the champion.")
    figures = _figures(day, champion, challenger)
    if figures is None:
        return _note(f"Version {challenger.version} was trained on this day, or too little of it was measured.")
    name = f"{day.window.start:%Y-%m-%d}"
    days = {**_days(challenger.tags), name: figures}
    return {**_judged(day, challenger, days, name), "champion": dg.MetadataValue.text(champion.version)}


def _note(text: str) -> Metadata:
    return {"note": dg.MetadataValue.text(text)}


def _figures(day: TenantDay, champion: "ChampionModel", challenger: "ChampionModel") -> "TrialDay | None":
    from collectors_dagster.models.anomaly import TenantDetector
    from collectors_dagster.models.shadow import tried, try_side, unseen

    known = [datetime.fromisoformat(one.tags["window_end"]) for one in (champion, challenger)]
    frames = unseen(day.tools.recall.day(day.tenant.id, day.window), max(known))
    past = day.tools.recall.past(day.tenant.id, day.window, HISTORY_DAYS)
    threshold = day.tenant.system.anomaly_threshold
    old, new = (
        try_side(TenantDetector.load(one.path, one.version), frames, past, threshold=threshold, seed=SEED)
        for one in (champion, challenger)
    )
    return tried(old, new, threshold)


def _days(tags: Mapping[str, str]) -> "dict[str, TrialDay]":
    """Return the days on which a challenger was tried so far; a tag that a person has spoilt is no day."""
    from collectors_dagster.models.shadow import TrialDay

    found: dict[str, TrialDay] = {}
    for name, value in sorted(tags.items()):
        if name.startswith(DAY_TAG):
            try:
                found[name.removeprefix(DAY_TAG)] = TrialDay.from_document(json.loads(value))
            except (KeyError, TypeError, ValueError):
                continue
    return found


def _judged(day: TenantDay, challenger: "ChampionModel", days: "Mapping[str, TrialDay]", name: str) -> Metadata:
    from collectors_dagster.models.shadow import figures, objections

    registry, tenant_id, version = day.tools.registry, day.tenant.id, challenger.version
    tags = {f"{DAY_TAG}{name}": json.dumps(days[name].document())}
    until = day.window.end - timedelta(seconds=1)
    registry.note(tenant_id, ANOMALY, version, tags=tags, metrics=figures([days[name]]), at=until)
    against = objections(list(days.values()))
    return {
        "challenger": dg.MetadataValue.text(version),
        "verdict": dg.MetadataValue.text(_settled(day, challenger, len(days), against)),
        "figures": table(
            ("figure", "of the day", "of all days"),
            _rows(figures([days[name]]), figures(list(days.values()))),
            empty="None.",
        ),
        "days": table(
            ("day", "host-minutes", "alerts", "champion's", "faults found", "champion's", "stability index"),
            [_day_row(at, one) for at, one in sorted(days.items())],
            empty="None.",
        ),
    }


def _settled(day: TenantDay, challenger: "ChampionModel", days: int, against: Sequence[str]) -> str:
    """Promote, reject or go on, as the version's trial and the settings say; return it in words."""
    registry, tenant_id, version = day.tools.registry, day.tenant.id, challenger.version
    needed = day.tools.deployment.settings.mlflow.shadow_days
    said = "; ".join(against) or "nothing speaks against it"
    if challenger.tags.get("validation_status") != "pending":
        before = challenger.tags.get("rejected", "no reason is known")
        return f"It was rejected before: {before}. Beside the champion: {said}."
    if days < needed:
        return f"Day {days} of {needed}: {said}."
    if challenger.tags.get("waits_for") != "shadow":
        return f"It waits for a person to move the alias champion. After {days} days: {said}."
    if against:
        registry.reject(tenant_id, ANOMALY, version, against)
        return f"Rejected after {days} days: {said}."
    registry.promote(tenant_id, ANOMALY, version)
    return f"Promoted after {days} days: {said}."


def _rows(of_day: Mapping[str, float], of_all: Mapping[str, float]) -> list[tuple[str, str, str]]:
    return [(name, f"{value:.3g}", f"{of_all[name]:.3g}") for name, value in of_day.items()]


def _day_row(name: str, one: "TrialDay") -> tuple[object, ...]:
    found = (f"{count} of {one.planted}" for count in (one.challenger_found, one.champion_found))
    mine, its = found
    return name, one.minutes, one.challenger_alerts, one.champion_alerts, mine, its, f"{one.psi:.3f}"
