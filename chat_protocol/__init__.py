"""Console Chat for Twisted: a durable server, a client library and a terminal client.

The packages build on each other in one direction only:

    wire  <-  domain  <-  stores, protocol  <-  web  <-  client, service  <-  cli, testing

``wire`` knows bytes and nothing of Twisted; ``domain`` knows users, sessions and delivery;
``stores`` keep messages; ``protocol`` speaks to one connection; ``service`` runs a server under
twistd; ``client`` and ``cli`` are the other end; ``testing`` is a server in memory for the tests of
programs that use the package.
"""
