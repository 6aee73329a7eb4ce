"""A topology as people see it: a tree of text, and the same as SVG.

    brics             portal      portal1 10.0.0.11:8040
    ├─ bridge         bridge      portal1
    └─ aip1           provider    site1   10.0.0.12:8041
       └─ clusters    platform    site1   127.0.0.1:8045

Indented is who dials the one above. An agent that serves several stands under each, and is drawn in full once. In the
SVG a line leads from the one that dials to the one that listens. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from openportal.cli.topology import KINDS, Member, Topology

BOX_WIDTH, BOX_HEIGHT = 150, 46
GAP_X, GAP_Y = 60, 18
MARGIN = 20
COLUMNS = ("bridge", "portal", "provider", "platform", "instance", "leaf")


def text(topology: Topology) -> str:
    """The tree, from those that are under nobody."""
    tops = [member for member in topology.members.values() if not any(a in topology.members for a, _ in member.under)]
    drawn: set[str] = set()
    lines = [line for top in tops for line in _branch(topology, top, "", "", drawn)]
    width = max((len(line[0]) for line in lines), default=0)
    hosts = max((len(line[2]) for line in lines), default=0)
    return "\n".join(f"{a:{width}}  {kind:10}  {host:{hosts}}  {where}".rstrip() for a, kind, host, where in lines)


def _branch(
    topology: Topology, member: Member, lead: str, indent: str, drawn: set[str]
) -> Iterator[tuple[str, str, str, str]]:
    again = member.name in drawn
    drawn.add(member.name)
    pairs = topology.below(member.name)
    where = f"{topology.listens_on(member)}:{member.port}" if pairs and member.host in topology.addresses else ""
    yield lead + member.name, member.kind, member.host, "(see above)" if again else where
    for pair in () if again else pairs:
        last = pair is pairs[-1]
        zone = "" if pair.zone == "default" else f"[{pair.zone}] "
        below = topology.members[pair.dialler]
        lead = f"{indent}{'└─' if last else '├─'} {zone}"
        yield from _branch(topology, below, lead, indent + ("   " if last else "│  "), drawn)


# --- SVG --------------------------------------------------------------------------------------------------------------


def svg(topology: Topology) -> str:
    """One column for each layer, one box for each agent, one line for each pair."""
    places = _places(topology)
    width = MARGIN * 2 + len(COLUMNS) * (BOX_WIDTH + GAP_X) - GAP_X
    height = MARGIN * 2 + max(y for _, y in places.values()) + BOX_HEIGHT
    shapes = [_line(places[pair.dialler], places[pair.listener]) for pair in topology.pairs()]
    shapes += [_box(member, *places[member.name]) for member in topology.members.values()]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">'
    return "\n".join([head, *shapes, "</svg>", ""])


def column_of(member: Member) -> int:
    return COLUMNS.index(member.kind if member.kind in COLUMNS else "leaf")


def _places(topology: Topology) -> dict[str, tuple[int, int]]:
    filled = [0] * len(COLUMNS)
    places = {}
    for member in topology.members.values():
        column = column_of(member)
        places[member.name] = (column * (BOX_WIDTH + GAP_X), filled[column] * (BOX_HEIGHT + GAP_Y))
        filled[column] += 1
    return places


def _line(start: tuple[int, int], end: tuple[int, int]) -> str:
    (left, top), (right, bottom) = sorted((start, end))
    x1, y1 = MARGIN + left + BOX_WIDTH, MARGIN + top + BOX_HEIGHT // 2
    x2, y2 = MARGIN + right, MARGIN + bottom + BOX_HEIGHT // 2
    middle = (x1 + x2) // 2
    return f'<path d="M{x1},{y1} C{middle},{y1} {middle},{y2} {x2},{y2}" fill="none" stroke="#888"/>'


def _box(member: Member, x: int, y: int) -> str:
    left, top, middle = x + MARGIN, y + MARGIN, x + MARGIN + BOX_WIDTH // 2
    fill = "#eef" if KINDS[member.kind].agent not in ("Account", "Filesystem", "Scheduler") else "#efe"
    size = f'width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"'
    return (
        f'<rect x="{left}" y="{top}" {size} fill="{fill}" stroke="#666"/>'
        f'<text x="{middle}" y="{top + 19}" text-anchor="middle" font-size="14">{escape(member.name)}</text>'
        f'<text x="{middle}" y="{top + 36}" text-anchor="middle" font-size="11" fill="#555">'
        f"{escape(member.kind)} on {escape(member.host)}</text>"
    )
