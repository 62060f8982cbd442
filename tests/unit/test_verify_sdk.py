"""The daemon's patches of an old SDK: which it makes by which text, and what they do to the installed files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from difyoff.difypkg.daemons import release
from difyoff.verify import sdk

LLM = """\
from pydantic import BaseModel, ConfigDict, Field


class PromptMessage(BaseModel):
    text: str = ""


class LLMResultChunk(BaseModel):
    model: str
    prompt_messages: list[PromptMessage]


class LLMResult(BaseModel):
    model: str
    prompt_messages: list[PromptMessage]
    usage: int = 0

    def to_llm_result_chunk(self):
        return LLMResultChunk(
            model=self.model,
            prompt_messages=self.prompt_messages,
        )
"""

REQUEST_READER = """\
from json import loads


def read(tp_read, sys):
    found, buffer = [], b""
    while data := tp_read(sys.stdin.fileno(), 512):
        lines = (buffer + data).split(b"\\n")
        buffer = lines.pop()
        for line in lines:
            try:
                data = loads(line)
                found.append(data)
            except ValueError as error:
                found.append(str(error))
    return found
"""

AI_MODEL = '''\
import gevent.socket
import gevent.threadpool
from gevent import counted


class AIModel(object):
    def _get_num_tokens_by_gpt2(self, text: str) -> int:
        """
        Count.
        """
        threadpool = gevent.threadpool.ThreadPool(1)
        return counted(text)
'''


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("dify_plugin==0.0.1b65\n", "0.0.1b65"),
        ('dependencies = ["dify-plugin~=0.1.0"]', "0.1.0"),
        ("dify-plugin==0.0.1b72 --hash=sha256:00", "0.0.1b72"),
        ("dify_plugin>=0.1.0,<0.2.0\n", "0.2.0"),
        ("dify_plugin>=0.1.0\n", "0.1.0"),
        ("dify_plugin>=0.0.1,<0.1.0\ndify_plugin>=0.0.1,<0.3.0", "0.3.0"),
        ("dify_plugin == 0.0.1b65\n", None),
        ("./wheels/dify_plugin-0.0.1b65-py3-none-any.whl\n", None),
        ("dify_plugin\n", None),
        ("dify_plugin==0.1.\n", None),
    ],
)
def test_the_version_is_what_the_daemon_reads(text: str, version: str | None) -> None:
    assert sdk.read_version(text) == version


@pytest.mark.parametrize(
    ("version", "other", "older"),
    [
        ("0.0.1b65", "0.0.1b70", True),
        ("0.0.1b70", "0.0.1b70", False),
        ("0.0.1b9", "0.0.1b70", False),  # by their text, as the daemon's library has it
        ("0.0.1b72", "0.1.1", True),
        ("0.1", "0.1.1", True),
        ("0.1.1b2", "0.1.1", True),
        ("0.1.1", "0.1.1b2", False),
        ("0.10.0", "0.9.0", False),
    ],
)
def test_versions_are_compared_as_the_daemon_does(version: str, other: str, older: bool) -> None:
    assert sdk.is_older(version, other) is older


@pytest.mark.parametrize(
    ("daemon", "text", "stages"),
    [
        ("0.6.10", "dify_plugin==0.0.1b65", (0, 1)),
        ("0.6.10", "dify_plugin==0.0.1b72", (1,)),
        ("0.6.10", "dify_plugin==0.1.1", ()),
        ("0.6.10", "dify_plugin>=0.0.1b60,<0.1.0", (1,)),
        ("0.0.6", "dify_plugin==0.0.1b65", (0,)),
        ("0.0.6", "dify_plugin>=0.0.1b60,<0.0.1b69", ()),
    ],
)
def test_a_release_makes_the_patches_that_it_knows(daemon: str, text: str, stages: tuple[int, ...]) -> None:
    assert sdk.find_stages(text, release(daemon).sdk_patched_below) == stages


def _install(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / "dify_plugin" / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "dify_plugin").mkdir(exist_ok=True)
    (folder / "dify_plugin/__init__.py").touch()


def _run(folder: Path, *words: str) -> str:
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def test_the_installed_files_are_patched(tmp_path: Path) -> None:
    _install(
        tmp_path,
        interfaces__model__ai_model=AI_MODEL,
        entities__model__llm=LLM,
        core__server__stdio__request_reader=REQUEST_READER,
    )
    done = json.loads(_run(tmp_path, "-c", sdk.SCRIPT, "0,1"))
    assert (len(done["done"]), done["missing"]) == (3, None)
    gevent = tmp_path / "gevent"
    gevent.mkdir()
    (gevent / "__init__.py").write_text("counted = len\n")
    (gevent / "socket.py").write_text("socket = None\n")
    (gevent / "threadpool.py").write_text("raise ImportError('no pool is made where sockets are not patched')\n")
    seen = _run(
        tmp_path,
        "-c",
        "import sys\n"
        "from dify_plugin.entities.model.llm import LLMResult, LLMResultChunk, PromptMessage\n"
        "from dify_plugin.interfaces.model.ai_model import AIModel\n"
        "from dify_plugin.core.server.stdio.request_reader import read\n"
        "result = LLMResult(model='m', prompt_messages=[PromptMessage(text='t')], usage=3)\n"
        "pieces = [b'{\"a\": 1}\\n\\n', b'']\n"
        "print(result.prompt_messages, LLMResultChunk(model='m').prompt_messages, result.usage)\n"
        "print(result.to_llm_result_chunk().prompt_messages, AIModel()._get_num_tokens_by_gpt2('x' * 100_000))\n"
        "print(read(lambda _, size: (print(size), pieces.pop(0))[1], sys))\n",
    )
    assert seen.splitlines() == ["[] [] 3", "[] 100000", "65536", "65536", "[{'a': 1}]"]


@pytest.mark.parametrize(
    ("files", "stages", "done", "missing"),
    [
        ({}, "1", 0, "entities/model/llm.py"),
        ({"entities__model__llm": LLM}, "1", 1, "core/server/stdio/request_reader.py"),
        ({"entities__model__llm": LLM}, "0,1", 0, "interfaces/model/ai_model.py"),
    ],
)
def test_the_daemon_stops_patching_at_the_first_file_that_is_not_there(
    files: dict[str, str], stages: str, done: int, missing: str, tmp_path: Path
) -> None:
    _install(tmp_path, **files)
    seen = json.loads(_run(tmp_path, "-c", sdk.SCRIPT, stages))
    assert (len(seen["done"]), seen["missing"]) == (done, missing)
