"""What a bridge runs beside its agent: the HTTP API, and the signals to the portal's software."""

from __future__ import annotations

import time

from openportal.bridge.agent import BridgeBackend
from openportal.bridge.auth import Verifier
from openportal.bridge.http import bridge_app
from openportal.bridge.keys import KeyRing
from openportal.bridge.serve import HttpServer
from openportal.bridge.signals import Signaller
from openportal.errors import ConfigError
from openportal.paddington.config import AgentConfig
from openportal.templemeads.agent import Agent
from openportal.templemeads.control import AgentControl


class BridgePart:
    """The HTTP API of a bridge, and the signals to the portal's software."""

    def __init__(self, config: AgentConfig, agent: Agent, control: AgentControl) -> None:
        bridge = config.bridge
        if bridge is None:
            raise ConfigError(f"{config.path} has no [bridge] table: make the file with `op-bridge init`")
        self._ip, self._port = bridge.ip, bridge.port
        backend = BridgeBackend(agent, control)
        self._backend = backend
        self._signaller = Signaller(
            bridge.signal_url, bridge.notification_url, on_gave_up=backend.gave_up, on_notified=backend.told
        )
        control.on_notification = backend.notified
        keys = KeyRing(bridge.keys)
        self._app = bridge_app(backend, Verifier(keys, time.time), keys, bridge.trusted_proxy)
        self.server = HttpServer()

    async def start(self) -> None:
        await self._signaller.start()
        self._backend.begin(self._signaller)
        await self.server.start(self._app, self._ip, self._port)

    async def stop(self) -> None:
        await self.server.stop()
        await self._backend.end()
        await self._signaller.stop()
