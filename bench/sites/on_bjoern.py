"""Runs an application on bjoern, which has no command of its own: APP HOST PORT."""

import importlib
import sys
from pathlib import Path

import bjoern

name, host, port = sys.argv[1:]
sys.path.insert(0, str(Path(__file__).resolve().parent))
module, _, attribute = name.partition(":")
bjoern.run(getattr(importlib.import_module(module), attribute), host, int(port))
