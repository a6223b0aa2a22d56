"""Names and numbers made from a seed: they look real and belong to nobody."""

from collections.abc import Sequence
from random import Random

MARK = " (sandbox)"
"""Ends every name: whoever sees one knows where it comes from."""


def _words(text: str, separator: str = " ") -> tuple[str, ...]:
    return tuple(text.split(separator))


_ADJECTIVES = _words(
    "Amber Brittle Cobalt Distant Ebbing Feral Gilded Hollow Idle Jagged Kindled Lunar Muted Neon Ochre Pale Quartz "
    "Rusted Saline Tidal Umber Velvet Waning Xeric Yonder Zinc Arctic Burning Copper Drifting Electric Fading Granite "
    "Hidden Iron Jade Latent Marble Nocturnal Opal Paper Quiet Roaming Silver Tangled Unlit Violet Wandering"
)
_NOUNS = _words(
    "Antlers Beacons Cartographers Dynamos Embers Ferries Glaciers Harbours Islands Junctions Kites Lanterns Meridians "
    "Needles Orchards Pylons Quarries Rivers Satellites Thickets Undertows Viaducts Windmills Yards Zeppelins Almanacs "
    "Boulevards Canopies Deltas Engines Foundries Gardens Horizons Inlets Jetties Knots Ledgers Magnets Novels Orbits "
    "Prisms Quills Radios Signals Telegraphs Umbrellas Valleys Workshops"
)
_VERBS = _words(
    "Breathing Calling Carrying Chasing Counting Crossing Dreaming Falling Finding Folding Holding Keeping Leaving "
    "Losing Mending Moving Naming Painting Reading Running Shaping Sleeping Sorting Tracing Turning Waiting Walking"
)
_PLACES = _words(
    "the Attic;the Bay;the Causeway;the Dunes;the Estuary;the Ferry;the Gorge;the Hill;the Isthmus;the Kiln;the Ledge;"
    "the Mill;the North;the Orchard;the Pier;the Quay;the Ridge;the Station;the Tower;the Underpass;the Weir",
    ";",
)
_GENRES = _words(
    "coastal folk;granular techno;attic jazz;meridian pop;salt soul;glass ambient;harbour rock;paper house;"
    "tundra metal;velvet disco;quarry blues;lantern hop;signal wave;orchard country;zinc punk",
    ";",
)
_LABELS = _words(
    "Ninth Pier;Cobalt Kiln;Weir & Daughters;Unlit Room;Orchard Street;Paper Viaduct;Saltmarsh;Two Windmills",
    ";",
)
COLOURS = _words("Amber Cobalt Ebony Fern Garnet Hazel Indigo Jade Khaki Lilac Maroon Ochre Pearl Russet Sepia Teal")

MARKETS = _words(
    "AD AE AG AL AM AO AR AT AU AZ BA BB BD BE BF BG BH BI BJ BN BO BR BS BT BW BZ CA CD CG CH CI CL CM CO CR CV CW CY "
    "CZ DE DJ DK DM DO DZ EC EE EG ES ET FI FJ FM FR GA GB GD GE GH GM GN GQ GR GT GW GY HK HN HR HT HU ID IE IL IN IQ "
    "IS IT JM JO JP KE KG KH KI KM KN KR KW KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MG MH MK ML MN MO MR MT MU "
    "MV MW MX MY MZ NA NE NG NI NL NO NP NR NZ OM PA PE PG PH PK PL PR PS PT PW PY QA RO RS RW SA SB SC SE SG SI SK SL "
    "SM SN SR ST SV SZ TD TG TH TJ TL TN TO TR TT TV TW TZ UA UG US UY UZ VC VE VN VU WS XK ZA ZM ZW"
)
COUNTRIES = ("SE", "DE", "US", "JP", "BR")
"""Where the listeners live."""


def seeded(*words: object) -> Random:
    """Return a generator that always says the same for the same words."""
    return Random("/".join(map(str, words)))  # noqa: S311  # an invented world, no secret


def artist_name(random: Random) -> str:
    """Return the name of a band."""
    pattern = random.choice(("{a} {n}", "The {a} {n}", "{n} of {p}", "{a} {n} {v}", "{v} {n}"))
    return _filled(pattern, random)


def album_name(random: Random) -> str:
    """Return the name of a record."""
    return _filled(random.choice(("{v} {p}", "{a} {n}", "{n}", "{a} & {a}", "{n} from {p}")), random)


def track_name(random: Random) -> str:
    """Return the name of a song."""
    pattern = random.choice(("{v} {p}", "{v} the {n}", "{a} {n}", "{n}", "{a}", "{n} at {p}", "{v}, {v}"))
    name = _filled(pattern, random)
    return name + random.choice(("", "", "", "", "", " - Live", " - Edit", f" (feat. {artist_name(random)})"))


def playlist_name(random: Random) -> str:
    """Return the name of a playlist."""
    return _filled(random.choice(("{v} in {p}", "{a} Mornings", "{a} Evenings", "Songs for {v}", "{n} & {n}")), random)


def genres(random: Random) -> list[str]:
    """Return none to three genres."""
    return sorted(random.sample(_GENRES, random.choice((0, 1, 1, 2, 3))))


def label(random: Random) -> str:
    """Return the name of a record label."""
    return random.choice(_LABELS)


def _filled(pattern: str, random: Random) -> str:
    lists: dict[str, Sequence[str]] = {"{a}": _ADJECTIVES, "{n}": _NOUNS, "{v}": _VERBS, "{p}": _PLACES}
    for hole, words in lists.items():
        while hole in pattern:
            pattern = pattern.replace(hole, random.choice(words), 1)
    return pattern
