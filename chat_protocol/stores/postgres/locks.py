"""The advisory locks of the PostgreSQL store, and the order in which everything is locked.

Every transaction takes its locks in this order, so that no two of them wait for each other:

1. ``EVERYONE_LOCK``: shared by batches; exclusive in a batch with a message to everyone, and while
   a user is deleted;
2. the locks of nodes, in the order of the node ids: shared in a batch of that node, exclusive in a
   transaction that takes sessions from it;
3. names of new users in the order of the names, then rows of ``account`` in the order of the ids;
4. rows of ``peer`` in the order of the ids.

A batch draws its offsets when it holds 1 to 3, and its messages become visible when it releases
them. So the offsets grow within each mailbox in the order in which they become visible, although
they do not in the whole table.
"""

from __future__ import annotations

__all__ = ["DEVICES_LOCK", "EVERYONE_LOCK", "EXPIRY_LOCK", "NODE_LOCKS", "SCHEMA_LOCK"]

SCHEMA_LOCK = 0x43686174_00000000
"""Held by the one node that creates or upgrades the schema."""

EVERYONE_LOCK = 0x43686174_00000001

EXPIRY_LOCK = 0x43686174_00000002
"""Held by the one node that removes expired messages."""

# 0x43686174_00000003 is in schema/2.sql.

DEVICES_LOCK = 0x43686174_00000004
"""Held by the one node that forgets devices."""

NODE_LOCKS = 0x43686174
"""The class of the locks of nodes; the other half is the id of the node."""
