"""The entry point of ``python -m benchmarks``; see docs/performance.md."""

from __future__ import annotations

import sys

from benchmarks.program import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
