"""structlog; where nobody looks at a terminal, without the library that paints one: 4 MB in each process."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING or "rich" in sys.modules or (sys.stdout is not None and sys.stdout.isatty()):
    import structlog
else:
    sys.modules["rich"] = None  # type: ignore[assignment]  # it is optional there, and looked for at the import only
    try:
        import structlog
    finally:
        del sys.modules["rich"]

__all__ = ["structlog"]
