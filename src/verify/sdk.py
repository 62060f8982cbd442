"""The daemon's patches of an old plugin SDK, made in the work folder.

Daemons overwrite files of a `dify_plugin` that is older than `Release.sdk_patched_below`, after the install and before
the start (internal/core/local_runtime/patch.go, 0.0.4 to 0.6.10). Here the installed files are edited to the same
effect, by a script that runs in the sandbox. The daemon reads the version off the text of the dependency file that it
installs from; where that names none, or a file to patch is not there, it logs so and goes on.
"""

import re
from typing import Final

SCRIPT: Final = r"""
import importlib.util, json, pathlib, re, sys

def edit(text, pattern, replacement):
    return re.sub(pattern, replacement, text, flags=re.MULTILINE)

def patch_ai_model(text):
    # No thread pool of gevent's where gevent has not patched the sockets; long texts are not counted token by token.
    text = edit(text, r"^import gevent\.threadpool\n", "")
    text = edit(text, r"^( +)threadpool = gevent\.threadpool\.ThreadPool\(\d+\)\n", "")
    text = edit(text, r"^threadpool = gevent\.threadpool\.ThreadPool\(\d+\)\n", "")
    pool = (
        "import socket\n\nimport gevent.socket\n\n"
        "if socket.socket is gevent.socket.socket:\n"
        "    import gevent.threadpool\n\n    threadpool = gevent.threadpool.ThreadPool(1)\n\n\n"
    )
    text = edit(text, r"^class AIModel\(", lambda match: pool + match[0])
    return edit(
        text,
        r"^( +)def _get_num_tokens_by_gpt2\([^)]*\)[^:\n]*:\n(?: +(\"\"\")(?:.|\n)*?\2\n)?",
        lambda match: f"{match[0]}{match[1]}    if len(text) >= 100000:\n{match[1]}        return len(text)\n",
    )

def patch_llm(text):
    # Results no longer carry the prompt's messages.
    field = (
        r"\1 = Field(default_factory=list)\n\n"
        '    @field_validator("prompt_messages", mode="before")\n'
        "    @classmethod\n"
        "    def drop_prompt_messages(cls, value):\n"
        "        return []\n"
    )
    text = edit(text, r"^(    prompt_messages: list\[PromptMessage\])\n", field)
    text = edit(text, r"^ +prompt_messages=self\.prompt_messages,\n", "")
    return "from pydantic import Field, field_validator\n" + text

def patch_request_reader(text):
    # More is read at once, and what is between two lines is passed over.
    text = edit(text, r"(tp_read\(sys\.stdin\.fileno\(\), )512\)", r"\g<1>65536)")
    text = edit(text, r"^( +)(data = loads\(line\))\n", r"\1if not line.strip():\n\1    continue\n\1\2\n")
    return "from pydantic import TypeAdapter\n" + text

STAGES = (
    ((("interfaces/model/ai_model.py", patch_ai_model),)),
    (("entities/model/llm.py", patch_llm), ("core/server/stdio/request_reader.py", patch_request_reader)),
)
done, missing = [], None
spec = importlib.util.find_spec("dify_plugin")
folder = pathlib.Path(spec.origin).parent if spec and spec.origin else None
for number in map(int, sys.argv[1].split(",")):
    for name, patch in STAGES[number]:
        if missing:
            break
        file = folder / name if folder else None
        if file is None or not file.is_file():
            missing = name
            break
        text = file.read_text(encoding="utf-8")
        file.write_text(patch(text), encoding="utf-8")
        done.append(name)
print(json.dumps({"done": done, "missing": missing}))
"""
"""Patches the installed SDK: its argument names the stages; prints `{"done": [...], "missing": FILE or null}`."""

_STAGES: Final = ("0.0.1b70", "0.1.1")
"""A version below one of these gets the stage of that number."""

_EXACT: Final = re.compile(r"dify[_-]plugin(?:~=|==)([0-9.a-z]+)", re.ASCII)
_RANGE: Final = re.compile(r"dify[_-]plugin(?:[><]=?|==)([0-9.a-z]+)(?:,(?:[><]=?|==)([0-9.a-z]+))?", re.ASCII)
_VERSION: Final = re.compile(r"(\d+(?:\.\d+)*)(?:-?([A-Za-z~][0-9A-Za-z~]*(?:\.[0-9A-Za-z~]+)*))?", re.ASCII)


def find_stages(text: str, patched_below: str) -> tuple[int, ...]:
    """Return the stages of `SCRIPT` that a release makes, by the text of the dependency file that it installs from.

    `patched_below` is the release's; those up to 0.0.7 know the first stage only, and no ranges.
    """
    known = _STAGES[: _STAGES.index(patched_below) + 1]
    version = read_version(text, ranges=len(known) > 1)
    if version is None:
        return ()
    return tuple(number for number, limit in enumerate(known) if is_older(version, limit))


def read_version(text: str, *, ranges: bool = True) -> str | None:
    """Return the version of the SDK as the daemon reads it: a pin's, else the highest bound of all ranges."""
    if exact := _EXACT.search(text):
        return exact[1] if _VERSION.fullmatch(exact[1]) else None
    if not ranges:
        return None
    # Of a range with two bounds the second one counts, of one bound none does: Go's submatch is there, and empty.
    bounds = [match[2] for match in _RANGE.finditer(text) if match[2] and _VERSION.fullmatch(match[2])]
    highest: str | None = None
    for bound in bounds:
        if highest is None or is_older(highest, bound):
            highest = bound
    if highest is None and (first := _RANGE.search(text)):
        highest = first[1] if _VERSION.fullmatch(first[1]) else None
    return highest


def is_older(version: str, other: str) -> bool:
    """Compare as hashicorp/go-version does, which the daemon uses: pre-releases by their text (`b9` after `b70`)."""
    (one, pre_one), (two, pre_two) = map(_split, (version, other))
    if one != two:
        return one < two
    if pre_one == pre_two or not pre_one:
        return False
    return not pre_two or pre_one < pre_two


def _split(version: str) -> tuple[tuple[int, ...], str]:
    match = _VERSION.fullmatch(version)
    assert match is not None
    numbers = tuple(map(int, match[1].split(".")))
    return numbers + (0,) * (3 - len(numbers)), match[2] or ""
