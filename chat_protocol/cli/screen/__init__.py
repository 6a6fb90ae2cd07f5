"""The full screen of ``chatclient``.

What it shows is a model that knows no terminal: ``model``, ``talks``, ``entries``; it is made into
rows of styled text by ``rows``, ``viewport`` and ``frame``; ``view`` and ``keys`` are all that
knows prompt_toolkit; ``actions`` is between the model and the client.
"""
