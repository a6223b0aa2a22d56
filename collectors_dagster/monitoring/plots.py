"""Small pictures for Dagster's pages: SVG text of one to four kilobytes, drawn without any library.

They are stored in the event log once per tenant, asset and run, so a picture holds at most
:data:`MOST_POINTS` points per line, whatever the length of the data.
"""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

from collectors_dagster.records import Window

MOST_POINTS = 120
WIDTH, HEIGHT = 560, 120
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 18, 18

Point = tuple[datetime, float]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a picture.

    Attributes
    ----------
    points : (time, value) in order of time; values that are not finite leave a gap
    color : of SVG
    width : stroke width in pixels; 0 draws no line, only the band
    band : (time, low, high) drawn as an area behind the line
    """

    points: Sequence[Point]
    color: str = "#3b6fb6"
    width: float = 1.5
    band: Sequence[tuple[datetime, float, float]] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """Lines over a window of time.

    Attributes
    ----------
    low, high : range of the vertical axis
    marks : values at which a dashed line is drawn, e.g. an alert's threshold
    shaded : windows drawn as red areas, e.g. incidents
    """

    title: str
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
    step = math.ceil(len(points) / most) or 1
    shares = (points[start : start + step] for start in range(0, len(points), step))
    return [max(share, key=lambda point: (math.isfinite(point[1]), point[1])) for share in shares]


def as_markdown(picture: Picture) -> str:
    """Return the picture as a markdown image that needs no other file."""
    text = base64.b64encode(svg(picture).encode()).decode()
    return f"![{_alt(picture.title)}](data:image/svg+xml;base64,{text})"


def svg(picture: Picture) -> str:
    """Return the picture as SVG."""
    axes = _Axes(picture)
    parts = [
        *(axes.shade(window) for window in picture.shaded),
        *(axes.frame()),
        *(axes.mark(value) for value in picture.marks),
        *(drawn for line in picture.lines for drawn in axes.line(line)),
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" font-family="sans-serif" font-size="10"><rect width="100%" height="100%" fill="#fff"/>'
    )
    return head + "".join(parts) + "</svg>"


def _alt(title: str) -> str:
    return title.replace("[", "(").replace("]", ")").replace("\n", " ")


class _Axes:
    """Turns times and values into places on the picture."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._seconds = max(picture.window.seconds, 1.0)
        self._span = (picture.high - picture.low) or 1.0

    def x(self, at: datetime) -> float:
        share = (at - self._picture.window.start).total_seconds() / self._seconds
        return round(_LEFT + min(max(share, 0.0), 1.0) * (WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        share = (value - self._picture.low) / self._span
        return round(HEIGHT - _BOTTOM - min(max(share, 0.0), 1.0) * (HEIGHT - _TOP - _BOTTOM), 1)

    def frame(self) -> list[str]:
        window, low, high = self._picture.window, self._picture.low, self._picture.high
        bottom = self.y(low)
        return [
            f'<text x="{_LEFT}" y="12" fill="#222">{escape(self._picture.title)}</text>',
            f'<path d="M{_LEFT} {self.y(high)}V{bottom}H{WIDTH - _RIGHT}" stroke="#999" fill="none"/>',
            _text(_LEFT - 4, self.y(high) + 4, f"{high:.3g}", "end"),
            _text(_LEFT - 4, bottom, f"{low:.3g}", "end"),
            _text(_LEFT, HEIGHT - 5, f"{window.start:%m-%d %H:%M}", "start"),
            _text(WIDTH - _RIGHT, HEIGHT - 5, f"{window.end:%m-%d %H:%M} UTC", "end"),
        ]

    def mark(self, value: float) -> str:
        y = self.y(value)
        return f'<path d="M{_LEFT} {y}H{WIDTH - _RIGHT}" stroke="#c0392b" stroke-dasharray="4 3"/>'

    def shade(self, window: Window) -> str:
        left, right = self.x(window.start), self.x(window.end)
        height = HEIGHT - _TOP - _BOTTOM
        return (
            f'<rect x="{left}" y="{_TOP}" width="{max(right - left, 1.5):.1f}" height="{height}" '
            'fill="#c0392b" fill-opacity=".18"/>'
        )

    def line(self, line: Line) -> list[str]:
        drawn = []
        if line.band:
            area = self._area(line.band)
            drawn.append(f'<path d="{area}" fill="{line.color}" fill-opacity=".2"/>')
        path = self._path(thinned(line.points))
        if path and line.width:
            drawn.append(f'<path d="{path}" stroke="{line.color}" stroke-width="{line.width}" fill="none"/>')
        return drawn

    def _path(self, points: Sequence[Point]) -> str:
        words, pen = [], "M"
        for at, value in points:
            if math.isfinite(value):
                words.append(f"{pen}{self.x(at)} {self.y(value)}")
                pen = "L"
            else:
                pen = "M"
        return "".join(words)

    def _area(self, band: Sequence[tuple[datetime, float, float]]) -> str:
        known = [edge for edge in band if math.isfinite(edge[1]) and math.isfinite(edge[2])]
        step = math.ceil(len(known) / MOST_POINTS) or 1
        known = known[::step]
        there = [f"{self.x(at)} {self.y(high)}" for at, _, high in known]
        back = [f"{self.x(at)} {self.y(low)}" for at, low, _ in reversed(known)]
        return "M" + "L".join(there + back) + "Z" if known else ""


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="#666">{escape(words)}</text>'
