#!/usr/bin/python
"""Several text files of a host in one step: written where they differ, and removed where they are no longer wanted."""

from __future__ import annotations

DOCUMENTATION = r"""
module: files
short_description: Write several text files in one step
description:
  - Writes each file whose text, mode or owner differs, and removes files that match a pattern and are not listed.
  - One step for all files of a host, however many agents it has. None of them may hold a secret, differences are shown.
author: OpenPortal in Python (@openportal)
options:
  files:
    description: The files that are to be.
    type: list
    elements: dict
    required: true
    suboptions:
      path: {description: Absolute path; its folder is made if it is not there., type: path, required: true}
      content: {description: The text., type: str, required: true}
      mode: {description: Permissions in octal digits., type: str, default: "0644"}
  only:
    description: Patterns; a file that matches one and is not listed is removed.
    type: list
    elements: str
    default: []
"""
EXAMPLES = r"""
- name: Two units
  openportal.facility.files:
    files:
      - {path: /etc/systemd/system/a.service, content: "{{ a }}"}
      - {path: /etc/systemd/system/b.service, content: "{{ b }}"}
"""
RETURN = r"""
paths:
  description: The files that changed.
  type: list
  elements: str
  returned: always
"""

import os
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

SPEC = {
    "files": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "path": {"type": "path", "required": True},
            "content": {"type": "str", "required": True},
            "mode": {"type": "str", "default": "0644"},
        },
    },
    "only": {"type": "list", "elements": "str", "default": []},
}


def main():
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    files = {Path(file["path"]): file for file in module.params["files"]}
    before = {path: path.read_text() if path.exists() else None for path in files}
    changed = [path for path, file in files.items() if not is_as_wanted(path, file, before[path])]
    unwanted = sorted({path for pattern in module.params["only"] for path in Path("/").glob(pattern[1:])} - set(files))
    differences = [difference(path, before[path] or "", files[path]["content"]) for path in changed]
    differences += [difference(path, path.read_text(), "") for path in unwanted]
    if not module.check_mode:
        for path in changed:
            write(path, files[path]["content"], int(files[path]["mode"], 8))
        for path in unwanted:
            remove(path)
    paths = [str(path) for path in changed + unwanted]
    module.exit_json(changed=bool(paths), paths=paths, diff=differences)


def is_as_wanted(path, file, before):
    if before != file["content"]:
        return False
    status = path.stat()
    return status.st_uid == 0 and status.st_mode & 0o7777 == int(file["mode"], 8)


def write(path, content, mode):
    """Put the text in the place of the file, all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w") as new:
        new.write(content)
        os.fchmod(new.fileno(), mode)
    Path(temporary).replace(path)


def remove(path):
    """Remove a file, and its folder if that is one of systemd's for drop-ins and holds nothing else."""
    path.unlink()
    if path.parent.suffix == ".d" and not any(path.parent.iterdir()):
        path.parent.rmdir()


def difference(path, before, after):
    return {"before_header": str(path), "after_header": str(path), "before": before, "after": after}


if __name__ == "__main__":
    main()
