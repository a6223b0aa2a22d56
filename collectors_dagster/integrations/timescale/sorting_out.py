"""An agent's samples sorted out: what cannot be right is left out and counted, the rest goes on. Pure, and no numpy."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import isinf, isnan

from collectors_dagster.integrations.timescale.refusals import Limits, Reason, Refusal, Tally
from collectors_dagster.integrations.timescale.series import LARGEST_VALUE, KnownSeries, wrong_unit
from collectors_dagster.samples import Sample, SeriesKey

_MICROSECOND = timedelta(microseconds=1)
_LONGEST = 200
"""Characters of a text in the books: it may be the text that the database did not take."""


def sorted_out(
    samples: Sequence[Sample], known: Mapping[SeriesKey, KnownSeries], limits: Limits
) -> tuple[Sequence[Sample], Sequence[Refusal]]:
    """Return the samples that can be stored, and what is wrong with the others.

    Parameters
    ----------
    known : mapping
        What the database knows of the series, of all that have a value that can be stored.
    """
    wrong = {series for series, found in known.items() if wrong_unit(series, found)}
    good = [
        sample
        for sample in samples
        if abs(sample.value) <= LARGEST_VALUE
        and limits.oldest <= sample.ts <= limits.newest
        and sample.series not in wrong
    ]
    if len(good) == len(samples):
        return good, ()
    tally = Tally()
    for sample in samples:
        reason = _reason(sample, limits, wrong_unit=sample.series in wrong)
        if reason is not None:
            tally.add(_refusal(sample, reason, limits))
    return good, tally.refusals()


def quarantined(samples: Sequence[Sample], reason: str, *, sign: int = 1) -> Sequence[Refusal]:
    """Return what the books say of a batch that is put into quarantine, or with ``sign=-1`` comes out of it."""
    tally = Tally()
    for sample in samples:
        series = sample.series
        said = _fit(f"in quarantine: {reason}")
        tally.add(Refusal(_fit(series.host), _fit(series.collector), _hour(sample.ts), said, sign, _said(sample)))
    return tally.refusals()


def _reason(sample: Sample, limits: Limits, *, wrong_unit: bool) -> Reason | None:
    found = (
        (Reason.NAN, isnan(sample.value)),
        (Reason.INFINITE, isinf(sample.value)),
        (Reason.TOO_LARGE, abs(sample.value) > LARGEST_VALUE),
        (Reason.ANCIENT, sample.ts < limits.oldest),
        (Reason.FUTURE, sample.ts > limits.newest),
        (Reason.WRONG_UNIT, wrong_unit),
    )
    return next((reason for reason, applies in found if applies), None)


def _refusal(sample: Sample, reason: Reason, limits: Limits) -> Refusal:
    """Book a sample under its own hour, or under the present one if its time cannot be believed."""
    believed = limits.oldest <= sample.ts <= limits.newest
    hour = _hour(sample.ts if believed else limits.now)
    return Refusal(_fit(sample.series.host), _fit(sample.series.collector), hour, reason, 1, _said(sample))


def _hour(ts: datetime) -> datetime:
    """Return the hour that a sample's interval lies in: its time is the interval's end."""
    return (ts.astimezone(UTC) - _MICROSECOND).replace(minute=0, second=0, microsecond=0)


def _said(sample: Sample) -> str:
    unit = f" {sample.series.unit}" if sample.series.unit else ""
    return _fit(f"{sample.series.metric} = {sample.value:g}{unit} at {sample.ts:%Y-%m-%d %H:%M:%S}")


def _fit(text: str) -> str:
    """Return a text that the database takes."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()[:_LONGEST]
