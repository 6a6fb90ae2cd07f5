"""Who owns the files that root makes beside those of the service's user."""

from __future__ import annotations

import os
from contextlib import suppress

__all__ = ["give_to_owner_of"]


def give_to_owner_of(path: str, new: int) -> None:
    """Give a new file the owner and group of a path; only root can, and only root has to.

    SQLite does the same for its log (robustFchown in os_unix.c).

    Args:
        path: a file, or one that is missing: then its folder.
        new: descriptor of the new file: a path might be a link by now.
    """
    if os.geteuid() == 0:
        path = path if os.path.exists(path) else os.path.dirname(os.path.abspath(path))
        status = os.stat(path)
        # In a container, root may lack the right.
        with suppress(PermissionError):
            os.fchown(new, status.st_uid, status.st_gid)
