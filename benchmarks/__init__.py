"""Benchmarks for servers of the protocol: cost per message, latency, and correctness.

    frames  <-  peers, receivers  <-  loads  <-  cases  <-  suite, soak

``frames`` encodes all frames in advance. ``peers`` and ``receivers`` are clients on non-blocking
sockets that send these frames and compare the answers and deliveries with the expected bytes.
``loads`` runs many of them in a separate process. ``servers`` starts the measured server, and
``procfs`` reads its CPU time and its memory. A case is data: the server, the load and the figures.
See docs/performance.md.
"""
