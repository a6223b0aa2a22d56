"""In which form the spool's content is written: compressed with what, sealed with which key."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from collectors_dagster.agent.sensitive import Sensitive
from collectors_dagster.collectors.protocol import Collector
from collectors_dagster.config.agent_plan import AgentOptions
from collectors_dagster.errors import ConfigurationError
from collectors_dagster.patterns.compression import Codec, CompressionPolicy, Compressor, is_available
from collectors_dagster.security.sealing import Sealer

ENOUGH = 0.5
"""Where gzip's method saves this much, as it does of nearly every minute (docs/agent.md), no other codec's library is
loaded: it would cost the agent 0.3 to 2 MB of memory for a few hundred bytes a minute."""

_AUTO = (Codec.GZIP, Codec.ZSTD, Codec.LZ4)
_CANDIDATES: Mapping[str, tuple[Codec, ...]] = {
    "auto": _AUTO,
    "none": (),
    "gzip": (Codec.GZIP,),
    "lz4": (Codec.LZ4,),
    "zstd": (Codec.ZSTD,),
}


def automatic() -> Compressor:
    """Return what compresses where nothing else is said."""
    return Compressor(CompressionPolicy(_AUTO, enough=ENOUGH))


def compressor_of(name: str) -> Compressor:
    """Return what compresses as ``agent.spool_compression`` says.

    Raises
    ------
    ConfigurationError
        If that codec is not installed.
    """
    candidates = _CANDIDATES[name]
    if name == "auto":
        return automatic()
    if not all(map(is_available, candidates)):
        message = f"agent.spool_compression: {name} is not installed here; install its package, or say auto"
        raise ConfigurationError(message)
    return Compressor(CompressionPolicy(candidates))


@dataclass(frozen=True, slots=True)
class Form:
    """How the spool is written from now on; what is there is read whatever its form.

    Attributes
    ----------
    sealer : Sealer or None
        Encrypts what is written, and opens what is encrypted.
    whole : bool
        It encrypts everything; otherwise what is sensitive.
    """

    sealer: Sealer | None = None
    compressor: Compressor = field(default_factory=automatic)
    sensitive: Sensitive = field(default_factory=Sensitive)
    whole: bool = True


def form_of(options: AgentOptions, sealer: Sealer | None, collectors: Iterable[Collector]) -> Form:
    """Return the form that the settings ask for.

    Parameters
    ----------
    collectors : iterable of Collector
        All that are read here: what ``agent.sensitive`` names is looked up among them.

    Raises
    ------
    ConfigurationError
        If a codec is not installed, what is sensitive cannot be sealed, or nothing would be.
    """
    sensitive, whole = Sensitive(options.sensitive), options.spool_encryption == "all"
    if sensitive.names and sealer is None:
        raise ConfigurationError(
            f"agent.sensitive names {', '.join(sensitive.names)}, but there is no key to seal it with; set "
            f"agent.spool_keys_file or agent.spool_keys, or name nothing"
        )
    if not whole and not sensitive.names:
        raise ConfigurationError(
            "agent.spool_encryption is sensitive, but agent.sensitive names nothing: nothing would be encrypted; "
            "name sources, metrics or labels there, or set agent.spool_encryption to all"
        )
    sensitive.check(collectors)
    return Form(sealer, compressor_of(options.spool_compression), sensitive, whole)
