"""What stands around the agents of a site: a database, a packet filter, and Prometheus that watches them."""

from __future__ import annotations

import json
import re
import subprocess
import time
from typing import Any

import pytest
import yaml

from tests.facility.controller import ROOT
from tests.facility.kept.site import OPENPORTAL, Kept
from tests.facility.test_day_two import OLD

pytestmark = [pytest.mark.systems, pytest.mark.facility]

AGENTS = {"brics", "bridge", "aip1", "clusters", "shared", "acct", "fs", "slurm"}
CONNECT_SECONDS = 2
WATCHED_SECONDS = 60
ASK = """
import json, sys, urllib.request
print(urllib.request.urlopen("http://127.0.0.1:9090/api/v1/" + sys.argv[1], timeout=5).read().decode())
"""


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


def test_an_agent_writes_to_a_database_of_its_own(kept: Kept) -> None:
    bed = kept.site.bed
    count = "SELECT count(*) FROM op_shared.stored_events"
    events = bed.ssh("site", f"runuser -u op-shared -- psql -At -d op-shared -c '{count}'")
    assert int(events) > 0
    assert not list((bed.disk("site") / "var/lib/openportal/shared").rglob("*.sqlite"))
    told = bed.ssh("site", f"{OPENPORTAL} status /etc/openportal/shared.toml")
    assert re.search(r"shared +Instance .* generation [1-9]", told)  # each restore before this one began another
    assert "shared: OK" in bed.ssh("site", f"{OPENPORTAL} ledger verify /etc/openportal/shared.toml")


@pytest.mark.parametrize("user", ["op-aip1", "nobody"])
def test_another_user_does_not_come_in(kept: Kept, user: str) -> None:
    with pytest.raises(RuntimeError, match=r"authentication failed|role .* does not exist"):
        kept.site.bed.ssh("site", f"runuser -u {user} -- psql -At -U op-shared -d op-shared -c 'SELECT 1'")


def test_the_database_comes_back_with_its_host(kept: Kept) -> None:
    kept.site.bed.reboot(["site"])
    kept.site.of(OLD).play("ansible/check.yml")


# --- packet filter ----------------------------------------------------------------------------------------------------


def reaches(kept: Kept, source: str, host: str, port: int) -> bool:
    """Whether a connection comes about; a `source` that is no host is a stranger on the same network."""
    address = kept.site.bed.addresses[host]
    command = f"timeout {CONNECT_SECONDS} bash -c '</dev/tcp/{address}/{port}'"
    if source in kept.site.bed.addresses:
        return kept.site.bed.ssh(source, f"{command} 2>/dev/null && echo yes || echo no").strip() == "yes"
    return subprocess.run([*kept.site.bed.enter, "sh", "-c", command], stderr=subprocess.DEVNULL).returncode == 0


REACHED = [("node", "site", 8046), ("site", "portal", 8040), ("portal", "node", 9047), ("portal", "site", 9046)]
NOT_REACHED = [
    ("stranger", "site", 8046), ("stranger", "portal", 8040), ("portal", "site", 8046), ("node", "portal", 8040),
    ("stranger", "node", 9047), ("site", "node", 9047),
]  # fmt: skip


def test_only_declared_peers_reach_an_agent(kept: Kept) -> None:
    assert [way for way in REACHED if not reaches(kept, *way)] == []
    assert [way for way in NOT_REACHED if reaches(kept, *way)] == []
    assert reaches(kept, "stranger", "site", 22)


def test_the_filter_outlives_a_restart_of_the_sites_own(kept: Kept) -> None:
    """It comes back after the site's own, and the second command waits for that; alone it would start nothing."""
    kept.site.bed.ssh("site", "systemctl restart nftables.service && systemctl start openportal-firewall.service")
    assert not reaches(kept, "stranger", "site", 8046)
    assert reaches(kept, "node", "site", 8046)


def test_a_site_may_do_without(kept: Kept) -> None:
    some = ("ansible/site.yml", "--tags", "configure")
    kept.site.of(OLD).play(*some, "-e", '{"openportal_firewall_enabled": false}')
    assert [way for way in NOT_REACHED if not reaches(kept, *way)] == []
    assert not (kept.site.bed.disk("site") / "etc/openportal-firewall.nft").is_file()
    kept.site.of(OLD).play(*some)
    assert [way for way in NOT_REACHED if reaches(kept, *way)] == []


# --- Prometheus -------------------------------------------------------------------------------------------------------


def test_prometheus_watches_every_agent_and_takes_the_rules(kept: Kept) -> None:
    bed = kept.site.bed
    job = yaml.safe_load(bed.ssh("portal", "cat /etc/prometheus/openportal.scrape.yml"))
    config = yaml.safe_dump({"rule_files": ["/etc/prometheus/openportal.rules.yml"], **job})
    bed.ssh("portal", "cat > /etc/prometheus/prometheus.yml", config)
    assert "SUCCESS" in bed.ssh("portal", "promtool check config /etc/prometheus/prometheus.yml")
    bed.ssh("portal", "systemctl restart prometheus.service")
    deadline = time.monotonic() + WATCHED_SECONDS
    while (up := watched(kept)) != AGENTS and time.monotonic() < deadline:
        time.sleep(1)
    assert up == AGENTS
    (group,) = asked(kept, "rules")["groups"]
    assert len(group["rules"]) == (ROOT / "docs/alerts.yml").read_text().count("- alert: ")


def watched(kept: Kept) -> set[str]:
    """The agents that answer Prometheus; none while it starts."""
    try:
        targets = asked(kept, "targets")["activeTargets"]
    except RuntimeError:
        return set()
    return {target["labels"]["instance"] for target in targets if target["health"] == "up"}


def asked(kept: Kept, what: str) -> dict[str, Any]:
    """An answer of Prometheus's API."""
    answer: dict[str, Any] = json.loads(kept.site.bed.ssh("portal", f"python3 - {what}", ASK))["data"]
    return answer
