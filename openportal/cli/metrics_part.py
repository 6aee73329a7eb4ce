"""The Prometheus endpoint of an agent that wants one."""

from __future__ import annotations

from openportal.errors import ConfigError
from openportal.templemeads.agent import Agent
from openportal.templemeads.control import AgentControl
from openportal.templemeads.metrics import Metrics


class MetricsPart:
    """Starts and stops it with the agent."""

    def __init__(self, ip: str, port: int, agent: Agent, control: AgentControl) -> None:
        self._metrics = Metrics(agent, control)
        self._ip, self._port = ip, port

    async def start(self) -> None:
        try:
            await self._metrics.start(self._ip, self._port)
        except OSError as error:
            raise ConfigError(f"[metrics] cannot listen on {self._ip} port {self._port}: {error.strerror}") from error

    async def stop(self) -> None:
        await self._metrics.stop()
