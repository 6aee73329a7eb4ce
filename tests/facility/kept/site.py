"""A running site with everything that keeps it: backups, a database, a packet filter, and Prometheus."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from tests.facility.controller import Controller, Run
from tests.facility.test_day_two import OLD, Site

OPENPORTAL = "/opt/openportal/current/bin/openportal"


@dataclass(frozen=True)
class Kept:
    """A running site, and the operator's folder with its backups and the key that opens them."""

    site: Site
    folder: Path

    @property
    def controller(self) -> Controller:
        kept = self.site.of(OLD)
        return replace(kept, variables={
            **kept.variables, "openportal_backup_folder": str(self.folder / "backups"),
            "openportal_backup_recipient": (self.folder / "public").read_text(),
            "openportal_backup_key": str(self.folder / "key"),
        })  # fmt: skip

    def back_up(self) -> Run:
        return self.controller.play("ansible/backup.yml", "--diff", "-vvv")

    def restore(self, *names: str, **more: str) -> Run:
        return self.controller.try_play("ansible/restore.yml", "-e", restored(*names, **more))

    def files(self, name: str) -> list[Path]:
        return sorted((self.folder / "backups" / name).iterdir())

    def generation(self, name: str) -> int:
        said = self.site.bed.ssh("site", f"{OPENPORTAL} ledger stats --json /etc/openportal/{name}.toml")
        return int(json.loads(said)[0]["generation"])


def restored(*names: str, **more: str) -> str:
    return json.dumps({"openportal_backup_restored": names, **{f"openportal_backup_{k}": v for k, v in more.items()}})
