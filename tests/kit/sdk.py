"""A stand-in for the plugin SDK: a `dify_plugin` package that starts a plugin the way the real one does.

Like the real one (0.10.1) it imports every provider and tool before it speaks, prints the manifest as the first line,
then `{"event": "heartbeat", ...}` at once and every ten seconds, and ends itself when its parent is gone. It needs no
other package to run; what its metadata requires is for the resolver.
"""

from collections.abc import Iterable

from kit.wheels import Distribution, wheel

_MODULES = {
    "dify_plugin/__init__.py": '''\
"""The parts of the plugin SDK that a small tool plugin uses."""

import importlib.util
import json
import os
import pathlib
import re
import sys
import time

HEARTBEAT_INTERVAL = 10


class ToolProvider:
    def _validate_credentials(self, credentials):
        raise NotImplementedError


class Tool:
    def create_text_message(self, text):
        return {"type": "text", "message": {"text": text}}

    def create_json_message(self, value):
        return {"type": "json", "message": {"json_object": value}}

    def create_variable_message(self, name, value):
        return {"type": "variable", "message": {"variable_name": name, "variable_value": value}}


class DifyPluginEnv:
    def __init__(self, **settings):
        self.settings = settings


class Plugin:
    def __init__(self, env):
        self.env = env
        os.scandir("_assets").close()  # the real SDK needs the folder, too
        manifest = pathlib.Path("manifest.yaml").read_text(encoding="utf-8")
        self.manifest = dict(re.findall(r"^(name|version|author|type): *['\\"]?([^'\\"\\n]+)", manifest, re.MULTILINE))
        _say(self.manifest)
        for folder in ("provider", "tools"):
            for source in sorted(pathlib.Path(folder).glob("*.py")):
                _load(source)
                _say({"event": "log", "session_id": None, "data": {"message": f"Installed {source}"}})

    def run(self):
        last = 0.0
        while os.getppid() != 1:
            if time.monotonic() - last >= HEARTBEAT_INTERVAL or not last:
                _say({"event": "heartbeat", "session_id": None, "data": {}})
                last = time.monotonic()
            time.sleep(0.2)
        os._exit(255)


def _say(message):
    print(json.dumps(message), flush=True)


def _load(source):
    name = source.with_suffix("").as_posix().replace("/", ".")
    spec = importlib.util.spec_from_file_location(name, source)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
''',
    "dify_plugin/entities/__init__.py": "",
    "dify_plugin/entities/tool.py": "class ToolInvokeMessage:\n    pass\n",
}


def dify_plugin(version: str, *, requires: Iterable[str] = ()) -> Distribution:
    """Make the stand-in SDK's wheel under the real name, `dify_plugin`."""
    return wheel("dify_plugin", version, requires=requires, requires_python=">=3.11", files=_MODULES)
