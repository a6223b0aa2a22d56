"""Pictures: small enough to be shown in place, whatever they show."""

import math
import random
from datetime import timedelta
from xml.etree import ElementTree as ET

from collectors_dagster.monitoring.plots import Line, Picture, as_markdown, svg
from collectors_dagster.records import Window

DAY = Window.of_day("2026-01-05")


def picture(points: int, episodes: int = 0, *, band: bool = False) -> Picture:
    noise = random.Random(7)
    at = [DAY.start + timedelta(seconds=86_400 * n / max(points, 1)) for n in range(points)]
    line = [(one, noise.random()) for one in at]
    area = [(one, value - 0.3, value + 0.3) for one, value in line] if band else []
    shaded = [Window(one, one + timedelta(minutes=20)) for one in at[:: max(points // episodes, 1)]] if episodes else []
    return Picture("0 to 1; dashed: alerts from 0.9", DAY, 0.0, 1.0, [Line(line, band=area)], [0.9], shaded)


def test_the_wildest_day_is_still_shown_in_place_by_the_web_ui() -> None:
    assert len(as_markdown(picture(1440, 30))) < 1000
    assert len(as_markdown(picture(1440, band=True))) < 1000


def test_every_picture_is_well_formed() -> None:
    for shown in (picture(0), picture(1), picture(1440, 5, band=True)):
        assert ET.fromstring(svg(shown)).tag == "{http://www.w3.org/2000/svg}svg"


def test_what_is_not_known_is_left_out_and_what_is_out_of_range_stays_inside() -> None:
    at = DAY.start + timedelta(hours=12)
    shown = Picture("", DAY, 0.0, 1.0, [Line([(DAY.start, math.nan), (at, 7.0), (DAY.end, -7.0)])])
    assert 'd="M150 1l150 46"' in svg(shown)
