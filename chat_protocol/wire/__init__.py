"""The protocol as bytes: types, commands, frames. Imports nothing of Twisted."""
