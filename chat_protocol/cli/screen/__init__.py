"""The full screen of ``chatclient``.

Its state is a model that is independent of the terminal: ``model``, ``conversations`` and
``entries``. ``rows``, ``viewport`` and ``frame`` render it as rows of styled text. Only ``view``
and ``keys`` use prompt_toolkit. ``actions`` connects the model to the client.
"""
