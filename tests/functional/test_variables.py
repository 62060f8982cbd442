"""Nothing of this machine's environment is put into what a plugin wrote: no secret leaves with a request."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.cli import difyoff
from kit.index import Index, serve
from kit.packages import standard_set
from kit.plugins import PYPROJECT, write_plugin
from kit.wheels import wheel

_SECRET = "s3cret"
_VARIABLES = ("HTTPS_PROXY", "UV_INDEX_PRIVATE_PASSWORD", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "HOME", "PATH")


@pytest.fixture
def elsewhere() -> Iterator[Index]:
    """Somebody else's server, which writes down what it is asked for."""
    with serve([wheel("aaa", "1.0"), wheel("bbb", "1.0")]) as index:
        yield index


@pytest.fixture
def own(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """The user's index, which wants a password, and a proxy with one."""
    with serve(standard_set(), login=f"user:{_SECRET}") as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url_with_login)
        monkeypatch.setenv("UV_EXTRA_INDEX_URL", index.url_with_login)
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:{_SECRET}@127.0.0.1:9")
        monkeypatch.setenv("UV_INDEX_PRIVATE_USERNAME", "user")
        monkeypatch.setenv("UV_INDEX_PRIVATE_PASSWORD", _SECRET)
        yield index


def _query() -> str:
    return "&".join(f"x=${{{name}}}" for name in _VARIABLES)


def _pyproject(line: str, more: str = "") -> str:
    return PYPROJECT.replace('"dify_plugin>=0.9.0",\n', f'"dify_plugin>=0.9.0",\n    "{line}",\n') + more


def _plugin(form: str, folder: Path, elsewhere: Index) -> Path:
    url = f"{elsewhere.file_url(elsewhere.find('aaa-1.0-py3-none-any.whl'))}?{_query()}"
    match form:
        case "requirements":
            return write_plugin(folder, pyproject=None, requirements=f"dify_plugin\naaa @ {url}\n")
        case "an included file":
            files = {"more.txt": f"aaa @ {url}\n"}
            return write_plugin(folder, pyproject=None, requirements="dify_plugin\n-r more.txt\n", files=files)
        case "constraints":
            files = {"more.txt": f"aaa @ {url}\n"}
            return write_plugin(folder, pyproject=None, requirements="dify_plugin\naaa\n-c more.txt\n", files=files)
        case "an index":
            text = f"--extra-index-url {elsewhere.url}/{_query()}\ndify_plugin\naaa\n"
            return write_plugin(folder, pyproject=None, requirements=text)
        case "a link page":
            text = f"--find-links {elsewhere.url}/aaa?{_query()}\ndify_plugin\naaa\n"
            return write_plugin(folder, pyproject=None, requirements=text)
        case "pyproject":
            return write_plugin(folder, pyproject=_pyproject(f"aaa @ {url}"))
        case "source":
            return write_plugin(folder, pyproject=_pyproject("aaa", f'[tool.uv.sources]\naaa = {{ url = "{url}" }}\n'))
        case "override":
            more = f'[tool.uv]\noverride-dependencies = ["aaa @ {url}"]\n'
            return write_plugin(folder, pyproject=_pyproject("aaa", more))
        case "an index of the name that the password is for":
            index = f'[[tool.uv.index]]\nname = "private"\nurl = "{elsewhere.url}"\n'
            more = f'[tool.uv.sources]\naaa = {{ index = "private" }}\n\n{index}'
            return write_plugin(folder, pyproject=_pyproject("aaa", more))
        case _:
            # The metadata of what is referred to by URL may refer to more by URL.
            outer = wheel("outer", "1.0", requires=[f"aaa @ {url}"])
            elsewhere.distributions.append(outer)
            line = f"outer @ {elsewhere.file_url(outer)}"
            return write_plugin(folder, pyproject=None, requirements=f"dify_plugin\n{line}\n")


@pytest.mark.parametrize(
    "form",
    [
        *(
            "requirements",
            "an included file",
            "constraints",
            "an index",
            "a link page",
            "pyproject",
            "source",
            "override",
        ),
        *("an index of the name that the password is for", "metadata"),
    ],
)
def test_no_variable_is_expanded(form: str, own: Index, elsewhere: Index, tmp_path: Path) -> None:
    plugin = _plugin(form, tmp_path / "tiny", elsewhere)

    run = difyoff("build", plugin, "--json", "-o", tmp_path / "out", cwd=tmp_path)

    asked = " ".join(request.path for request in elsewhere.requests)
    assert _SECRET not in asked
    assert _SECRET not in run.stdout + run.stderr
    if form != "metadata":  # there, uv may put in what is no secret
        assert str(tmp_path) not in asked
    assert not elsewhere.logins
    if form in ("requirements", "an included file", "source", "pyproject"):
        assert elsewhere.requests
        assert run.code == 0, run.stderr
