"""Names of users by their numbers, from a file: asking the system could ask a directory server, and wait for it."""

from pathlib import Path


class Accounts:
    """The users in a ``passwd`` file, read again when the file changes.

    Parameters
    ----------
    path : Path
        A container that observes its host names the host's file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed_ns = -1
        self._names: dict[int, str] = {}

    def name(self, number: int) -> str:
        """Return a user's name; the number where there is none."""
        if number not in self._names:
            self._read_if_changed()
        return self._names.get(number, str(number))

    def _read_if_changed(self) -> None:
        try:
            changed_ns = self._path.stat().st_mtime_ns
            if changed_ns != self._changed_ns:
                self._names = parse_passwd(self._path.read_bytes())
                self._changed_ns = changed_ns
        except OSError:
            return  # numbers are names too


def parse_passwd(data: bytes) -> dict[int, str]:
    r"""Return names by number; of several with the same number the first; lines that are none are skipped.

    Examples
    --------
    >>> parse_passwd(b"root:x:0:0::/root:/bin/sh\ntoor:x:0:0:::\n+::::::\n")
    {0: 'root'}
    """
    names: dict[int, str] = {}
    for line in data.splitlines():
        fields = line.split(b":")
        if len(fields) > 2 and fields[2].isdigit():
            names.setdefault(int(fields[2]), fields[0].decode("utf-8", "backslashreplace"))
    return names
