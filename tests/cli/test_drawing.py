"""Topologies as text and as SVG."""

from __future__ import annotations

from xml.etree import ElementTree

from openportal.cli import drawing
from openportal.cli.topology import Topology
from tests.cli.sites import ADDRESSES, SITE, changed

TREE = """\
brics              portal      p  10.0.0.1:8040
├─ aip1            provider    s  127.0.0.1:8041
│  └─ clusters     platform    s  127.0.0.1:8045
│     └─ shared    instance    s  10.0.0.2:8046
│        ├─ acct   account     n
│        ├─ fs     filesystem  n
│        └─ slurm  scheduler   s
└─ bridge          bridge      p"""


def test_text() -> None:
    assert drawing.text(Topology.declared(SITE, ADDRESSES)) == TREE


def test_an_agent_of_two_is_drawn_once_and_named_twice() -> None:
    gpu = {"kind": "instance", "host": "p", "under": "clusters"}
    fs = {"kind": "filesystem", "host": "n", "under": ["shared", "gpu@two"]}
    lines = drawing.text(Topology.declared(changed({"gpu": gpu, "fs": fs}), ADDRESSES)).splitlines()
    assert [line.split()[-1] for line in lines if " fs " in line] == ["n", "above)"]
    assert any("[two] fs" in line for line in lines)


def test_svg_has_a_box_for_each_agent_and_a_line_for_each_pair() -> None:
    topology = Topology.declared(changed({"shared": {**SITE["shared"]}}), ADDRESSES)
    picture = ElementTree.fromstring(drawing.svg(topology))
    space = {"svg": "http://www.w3.org/2000/svg"}
    assert len(picture.findall("svg:rect", space)) == len(topology.members)
    assert len(picture.findall("svg:path", space)) == len(topology.pairs())
    names = [text.text for text in picture.findall("svg:text", space)]
    assert names[::2] == list(topology.members)
    assert "filesystem on n" in names
