"""A clock with Twisted: tells each listener how many seconds it has listened, and says back what it
is told."""

from __future__ import annotations

import os

from twisted.internet import endpoints, reactor, task
from twisted.web import resource, server
from twisted.web.websocket import WebSocketResource, WebSocketTransport


class Listener:
    """One who listens."""

    def negotiationStarted(self, transport: WebSocketTransport) -> None:
        self.transport = transport
        self.seconds = 0
        self.clock = task.LoopingCall(self.tick)

    def negotiationFinished(self) -> None:
        self.clock.start(1)

    def tick(self) -> None:
        self.transport.sendTextMessage(f"tick {self.seconds}")
        self.seconds += 1

    def textMessageReceived(self, message: str) -> None:
        self.transport.sendTextMessage(f"you said {message}")

    def bytesMessageReceived(self, data: bytes) -> None:
        self.transport.sendBytesMessage(bytes(data))

    def pongReceived(self, payload: bytes) -> None:
        pass

    def connectionLost(self, reason: object) -> None:
        if self.clock.running:
            self.clock.stop()


class Listeners:
    @staticmethod
    def buildProtocol(request: server.Request) -> Listener:
        return Listener()


def main() -> None:
    ticks = resource.Resource()
    ticks.putChild(b"", WebSocketResource(Listeners()))
    root = resource.Resource()
    root.putChild(b"ticks", ticks)
    endpoint = endpoints.UNIXServerEndpoint(reactor, os.environ["SOCKET"])
    endpoint.listen(server.Site(root))
    reactor.run()


if __name__ == "__main__":
    main()
