"""Fixtures of the screen tests."""

from tests.cli.screen.screen_user import log_out_all

__all__ = ["log_out_all"]
