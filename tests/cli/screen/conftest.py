"""What the tests of the screen have: nobody stays behind."""

from tests.cli.screen.person import everybody_leaves

__all__ = ["everybody_leaves"]
