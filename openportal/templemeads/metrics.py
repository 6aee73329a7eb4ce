"""Prometheus: GET /metrics on an address of its own, off unless it has a port.

Nothing is measured for this: at a scrape, the counters that the agent keeps anyway are read. The names are the table in
`Collector.collect`; all begin with `openportal_` and end with their unit. There is no authentication, so it belongs on
a loopback or management address.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from openportal.templemeads.agent import PROTOCOL_VERSION, Agent
from openportal.templemeads.control import AgentControl
from openportal.templemeads.health import (
    DURATION_BUCKETS_SECONDS,
    link_states,
    memory_bytes,
    open_by_peer,
    open_files,
    open_jobs,
)
from openportal.templemeads.stuck import stuck

RELEASE = version("openportal-agents")  # ours; the other one is the network's
MAX_REQUEST_BYTES = 8 * 1024
REQUEST_MAX_SECONDS = 5.0
MAX_CONNECTIONS = 32
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}

Labels = Mapping[Any, float]  # tuple of the labels -> value


def counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"openportal_{name}", text, value=value)


def gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"openportal_{name}", text, value=value)


def counters(name: str, text: str, labels: tuple[str, ...], values: Labels) -> Metric:
    """One counter per combination of labels."""
    family = CounterMetricFamily(f"openportal_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def gauges(name: str, text: str, labels: tuple[str, ...], values: Labels) -> Metric:
    """One gauge per combination of labels."""
    family = GaugeMetricFamily(f"openportal_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


class Collector:
    """Reads an agent's counters when it is scraped."""

    def __init__(self, agent: Agent, control: AgentControl) -> None:
        self._agent, self._control = agent, control

    def collect(self) -> Iterator[Metric]:
        yield from self._about()
        yield from self._jobs()
        yield from self._links()
        yield from self._ledger()
        yield from self._process()

    def _about(self) -> Iterator[Metric]:
        agent = self._agent
        labels = {(agent.name, agent.role.agent_type, PROTOCOL_VERSION, RELEASE): 1.0}
        yield gauges("build_info", "What runs here; always 1.", ("agent", "type", "version", "release"), labels)
        uptime = max(0.0, agent.clock() - self._control.started)
        yield gauge("uptime_seconds", "Time since the start.", uptime)

    def _jobs(self) -> Iterator[Metric]:
        core, totals = self._agent.core, self._control.totals
        ended = {("completed",): totals.completed, ("failed",): totals.failed, ("expired",): totals.expired}
        yield counters("jobs_ended", "Jobs that ended, each once.", ("outcome",), ended)
        yield counter("jobs_slow", "Jobs that took more than a second.", totals.slow)
        yield counter("jobs_quarantined", "Jobs given up because they took the agent down.", totals.quarantined)
        effects = self._agent.effects
        yield counters("effects", "What a leaf did to its system, by what came of it.", ("action", "outcome"), effects)
        edges = [*map(str, DURATION_BUCKETS_SECONDS), "+Inf"]
        buckets = list(zip(edges, accumulate(totals.times.buckets), strict=True))
        text = "From our taking a job to its end."
        yield HistogramMetricFamily("openportal_job_duration_seconds", text, buckets, totals.times.total_seconds)
        labels = ("peer", "direction")
        yield gauges("open_jobs", "Open jobs shared with a neighbour.", labels, open_by_peer(core))
        jobs = open_jobs(core)
        yield gauge("parked_jobs", "Jobs with a step that no known agent can take yet.", jobs.parked)
        yield gauge("waiting_jobs", "Jobs that wait for others to end.", jobs.waiting)
        yield from self._stuck()

    def _stuck(self) -> Iterator[Metric]:
        found = stuck(self._agent.core, self._agent.clock())
        yield gauge("stuck_jobs", "Jobs that are open for more than a minute.", found.jobs)
        yield gauge("oldest_job_seconds", "Age of the oldest open job.", found.oldest_seconds)
        yield gauge("overrun_jobs", "Jobs that ended while a leaf is still at work on them.", found.overrun)
        yield gauge("quarantine_jobs", "Jobs in quarantine, which wait for an operator.", found.in_quarantine)
        yield gauge("undo_jobs", "Jobs that ended before their steps were done.", found.to_be_undone)

    def _links(self) -> Iterator[Metric]:
        stats, told = self._agent.links.stats, self._control.notifications
        up = {(peer,): float(state == "up") for peer, state in link_states(self._agent).items()}
        yield gauges("link_up", "Whether a neighbour is linked and has registered.", ("peer",), up)
        yield from self._neighbours()
        frames = {("in",): stats.frames_in, ("out",): stats.frames_out}
        yield counters("frames", "Frames on all links.", ("direction",), frames)
        messages = {("in",): stats.messages_in, ("out",): stats.messages_out}
        yield counters("messages", "Messages on all links.", ("direction",), messages)
        rejected = {(reason,): count for reason, count in stats.rejected.items()}
        yield counters("frames_rejected", "Frames dropped; the link stayed.", ("reason",), rejected)
        refused = {(reason,): count for reason, count in stats.refused.items()}
        yield counters("connections_refused", "Connections turned away.", ("reason",), refused)
        yield counters("link_alarms", "Signs that somebody else has a peer's keys.", ("peer", "cause"), stats.alarms)
        yield counter("commands_rejected", "Commands or jobs that were refused.", self._agent.core.rejected)
        notes = {(outcome,): told[outcome] for outcome in ("received", "sent", "failed")}
        yield counters("notifications", "Notifications by what became of them.", ("outcome",), notes)

    def _neighbours(self) -> Iterator[Metric]:
        clocks, core = self._control.clocks, self._agent.core
        about = {(peer, seen.engine, seen.version): 1.0 for peer, seen in clocks.seen.items()}
        yield gauges("peer_info", "What runs at a neighbour; always 1.", ("peer", "engine", "version"), about)
        best = {(peer,): sample for peer in clocks.seen if (sample := clocks.best(peer)) is not None}
        skews = {key: sample.skew_seconds for key, sample in best.items()}
        yield gauges("peer_clock_skew_seconds", "How far a neighbour's clock is ahead of ours.", ("peer",), skews)
        trips = {key: sample.round_trip_seconds for key, sample in best.items()}
        yield gauges("peer_round_trip_seconds", "The quickest of the last round trips.", ("peer",), trips)
        closed = {(board.peer,): float(board.breaker.is_open(self._agent.clock())) for board in core.boards.values()}
        yield gauges("breaker_open", "Whether a leaf is not asked for a while.", ("peer",), closed)

    def _ledger(self) -> Iterator[Metric]:
        ledger, stats = self._agent.ledger, self._agent.ledger.stats
        yield counter("ledger_commits", "Commits since the start.", stats.commits)
        yield counter("ledger_events", "Events committed since the start.", stats.events)
        yield counter("ledger_units", "Units committed since the start.", stats.units)
        yield counter("ledger_bytes", "Bytes of event states committed since the start.", stats.bytes)
        yield gauge("ledger_last_commit_seconds", "How long the last commit took.", stats.last_commit_seconds)
        yield gauge("ledger_biggest_batch_events", "Events in the biggest commit.", stats.biggest_batch)
        size, free = ledger.size_bytes(), ledger.free_bytes()
        if size is not None and free is not None:
            yield gauge("ledger_size_bytes", "What the log takes on its disk; not of PostgreSQL.", size)
            yield gauge("ledger_free_bytes", "Space left on the disk of the log; not of PostgreSQL.", free)
        yield gauge("ledger_position", "Position of the last committed event.", ledger.position)
        yield gauge("ledger_generation", "Generation of the ledger; raised by a restore.", ledger.generation)
        yield gauge("ledger_low_space", "Whether the disk is nearly full.", float(ledger.low_space))
        yield gauge(
            "ledger_failed", "Whether a commit failed; the agent then starts again from the disk.", float(ledger.failed)
        )

    def _process(self) -> Iterator[Metric]:
        yield gauge("process_resident_memory_bytes", "Resident memory.", memory_bytes())
        yield counter("process_cpu_seconds", "Processor time, user and system.", time.process_time())
        yield gauge("process_open_fds", "Open file descriptors.", open_files())


class Metrics:
    """The endpoint of one agent, with a registry of its own. `start` may be called once."""

    def __init__(self, agent: Agent, control: AgentControl) -> None:
        self.registry = CollectorRegistry()
        self._collector = Collector(agent, control)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()

    @property
    def port(self) -> int:
        """Where it listens; of use when `start` was given port 0."""
        assert self._server is not None, "the endpoint has not been started"
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self, ip: str, port: int) -> None:
        """Listen. The agent has to be running: its counters are read from now on. Raises OSError."""
        self.registry.register(self._collector)
        self._server = await asyncio.start_server(self._serve, ip, port, limit=MAX_REQUEST_BYTES)

    async def stop(self) -> None:
        """Stop listening and drop whoever is connected."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for connection in tuple(self._connections):
            connection.transport.abort()
        await server.wait_closed()

    def render(self) -> bytes:
        """The text of a scrape."""
        return generate_latest(self.registry)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of one connection."""
        if len(self._connections) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections.add(writer)
        try:
            async with asyncio.timeout(REQUEST_MAX_SECONDS):
                writer.write(self._response(await self._request(reader)))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError):
            writer.transport.abort()
        finally:
            self._connections.discard(writer)

    async def _request(self, reader: asyncio.StreamReader) -> tuple[str, str]:
        """Method and path of a request; empty if it cannot be read."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return "", ""
        words = head.partition(b"\r\n")[0].decode("ascii", "replace").split(" ")
        return (words[0], words[1].partition("?")[0]) if len(words) == 3 else ("", "")

    def _response(self, request: tuple[str, str]) -> bytes:
        match request:
            case ("GET" | "HEAD" as method, "/metrics"):
                return response(200, self.render(), CONTENT_TYPE_LATEST, method == "HEAD")
            case ("", _):
                return response(400, b"this is no request that can be read\n")
            case (_, "/metrics"):
                return response(405, b"use GET\n")
        return response(404, b"the metrics are at /metrics\n")


def response(status: int, body: bytes, content_type: str = "text/plain; charset=utf-8", head: bool = False) -> bytes:
    """An HTTP response after which the connection closes."""
    lines = (
        f"HTTP/1.1 {status} {REASONS[status]}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        *(("Allow: GET, HEAD",) if status == 405 else ()),
        "Connection: close",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + (b"" if head else body)
