"""Register ``twistd chatserver``. The module of the service is imported only when it runs."""

from twisted.application.service import ServiceMaker

chatserver = ServiceMaker(  # type: ignore[no-untyped-call]
    "Console Chat server",
    "chat_protocol.service.tap",
    "A durable Console Chat server.",
    "chatserver",
)
