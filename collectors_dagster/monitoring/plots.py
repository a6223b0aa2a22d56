"""Small pictures for Dagster's pages: SVG drawn without any library, under a thousand characters each.

The size has two reasons. A picture is stored in the event log once per tenant, asset and run. And the web UI shows
markdown in place only below 1,000 characters; anything longer hides behind a link.
"""

import base64
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from collectors_dagster.records import Window

MOST_POINTS = 60
"""Of a line; a point stands for the largest value of its share of time."""
MOST_BAND_POINTS = 12
MOST_SHADED = 6
_WIDTH, _HEIGHT = 300, 48

Point = tuple[datetime, float]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a picture.

    Attributes
    ----------
    points : (time, value) in order of time; values that are not finite are left out
    band : (time, low, high) drawn as an area behind the line
    """

    points: Sequence[Point]
    color: str = "#36b"
    band: Sequence[tuple[datetime, float, float]] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """Lines over a window of time.

    Attributes
    ----------
    caption : what is seen, in words
    low, high : range of the vertical axis
    marks : values at which a dashed line is drawn, e.g. an alert's threshold
    shaded : windows drawn as areas, e.g. incidents
    """

    caption: str
    window: Window
    low: float
    high: float
    lines: Sequence[Line]
    marks: Sequence[float] = ()
    shaded: Sequence[Window] = ()


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """Return at most `most` points; each is the largest of its share of the row, so peaks survive.

    Examples
    --------
    >>> from datetime import UTC, timedelta
    >>> start = datetime(2026, 1, 1, tzinfo=UTC)
    >>> row = [(start + timedelta(minutes=m), 1.0 if m == 7 else 0.0) for m in range(12)]
    >>> [value for _, value in thinned(row, most=3)]
    [0.0, 1.0, 0.0]
    """
    known = [point for point in points if math.isfinite(point[1])]
    step = math.ceil(len(known) / most) or 1
    return [max(known[start : start + step], key=lambda point: point[1]) for start in range(0, len(known), step)]


def as_markdown(picture: Picture) -> str:
    """Return the picture as a markdown image that needs no other file, with its caption."""
    text = base64.b64encode(svg(picture).encode()).decode()
    return f"![](data:image/svg+xml;base64,{text})\n\n{picture.caption}"


def svg(picture: Picture) -> str:
    """Return the picture as SVG."""
    axes = _Axes(picture)
    parts = [
        axes.shades(picture.shaded[:MOST_SHADED]),
        *(axes.band(line) for line in picture.lines if line.band),
        *(axes.mark(value) for value in picture.marks),
        *(axes.line(line) for line in picture.lines if line.points),
    ]
    box = f'width="{3 * _WIDTH // 2}" height="{3 * _HEIGHT // 2}" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {box} fill="none">{"".join(parts)}</svg>'


class _Axes:
    """Turns times and values into places on the picture, in whole units."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._seconds = max(picture.window.seconds, 1.0)
        self._span = (picture.high - picture.low) or 1.0

    def x(self, at: datetime) -> int:
        share = (at - self._picture.window.start).total_seconds() / self._seconds
        return round(min(max(share, 0.0), 1.0) * _WIDTH)

    def y(self, value: float) -> int:
        share = (value - self._picture.low) / self._span
        return round(_HEIGHT - 1 - min(max(share, 0.0), 1.0) * (_HEIGHT - 2))

    def mark(self, value: float) -> str:
        return f'<path d="M0 {self.y(value)}h{_WIDTH}" stroke="#c33" stroke-dasharray="3"/>'

    def shades(self, windows: Sequence[Window]) -> str:
        if not windows:
            return ""
        edges = [(self.x(window.start), self.x(window.end)) for window in windows]
        areas = (f"M{left} 0H{max(right, left + 1)}V{_HEIGHT}H{left}z" for left, right in edges)
        return f'<path d="{"".join(areas)}" fill="#fbb"/>'

    def line(self, line: Line) -> str:
        places = [(self.x(at), self.y(value)) for at, value in thinned(line.points)]
        return f'<path d="{_relative(places)}" stroke="{line.color}"/>'

    def band(self, line: Line) -> str:
        known = [edge for edge in line.band if math.isfinite(edge[1]) and math.isfinite(edge[2])]
        step = math.ceil(len(known) / MOST_BAND_POINTS) or 1
        kept = known[::step]
        there = [(self.x(at), self.y(high)) for at, _, high in kept]
        back = [(self.x(at), self.y(low)) for at, low, _ in reversed(kept)]
        return f'<path d="{_relative(there + back)}z" fill="#fdb"/>'


def _relative(places: Sequence[tuple[int, int]]) -> str:
    """Return a path as steps from place to place: half as long as the places themselves."""
    if not places:
        return "M0 0"
    steps = [(x - px, y - py) for (px, py), (x, y) in itertools.pairwise(places)]
    steps = steps or [(1, 0)]  # a single minute is a dot
    return f"M{places[0][0]} {places[0][1]}l" + " ".join(f"{dx} {dy}" for dx, dy in steps)
