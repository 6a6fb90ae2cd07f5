"""Console Chat for Twisted: a durable server, a client library and a terminal client.

The packages build on each other in one direction only:

    wire  <-  domain  <-  stores, protocol  <-  client, service  <-  cli

``wire`` knows bytes and nothing of Twisted; ``domain`` knows users, sessions and delivery;
``stores`` keep messages; ``protocol`` speaks to one connection; ``service`` runs a server under
twistd; ``client`` and ``cli`` are the other end.
"""
