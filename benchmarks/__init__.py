"""Measures a server of the protocol: what a message costs, how long it takes, what is lost.

    frames  <-  peers  <-  loads  <-  cases  <-  suite, soak

``frames`` makes bytes beforehand, ``peers`` are users on non-blocking sockets who send them and
compare what comes back, ``loads`` lets many of them work in a process of their own; ``servers``
starts what is measured and ``procfs`` reads what it costs. A case is data: what to start, which
load, which figures. See docs/performance.md.
"""
