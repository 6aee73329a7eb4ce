"""Runs in the environment of a published client: reads documents, and writes its own.

{"name": "<JSON>", …} on standard input  ->  {"read": what each says, "written": documents of its own}
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import samples

import openportal

documents = json.load(sys.stdin)
print(json.dumps({"read": samples.read(openportal, documents), "written": samples.written(openportal)}))
