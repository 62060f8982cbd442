"""Secrets: what has their form is blanked, and what is known to be one is taken out of everything."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difyoff.difypkg.redaction import Secrets, collect_secrets, redact

WORD = "s3cr3t-Word"


@pytest.mark.parametrize(
    "text",
    [
        f"https://user:{WORD}@index.example/simple",
        f"https://{WORD}@index.example/simple",
        f"http://user:{WORD}/x@proxy.example:3128",
        f"http://user:{WORD}#x@proxy.example:3128",
        f"http://user:{WORD}?x@proxy.example:3128",
        f"http://user:a@{WORD}@proxy.example:3128",
        f"socks5://user:{WORD}@proxy.example",
        f"git+https://user:{WORD}@git.example/repository.git@v1",
        f"https://index.example/simple?token={WORD}",
        f"https://index.example/a.whl?X-Amz-Signature={WORD}&x=1",
        f"https://index.example/a.whl?x=1&access_token={WORD}",
        f"https://index.example/a.whl?sig={WORD}#sha256=0",
        f"https://index.example/a.whl?api-key={WORD}",
        f"Authorization: Basic {WORD}",
        f"'Authorization': 'Bearer {WORD}'",
        f"two: https://a:{WORD}@a.example/ and https://b:{WORD}@b.example/",
    ],
)
def test_what_has_the_form_of_a_secret_is_blanked(text: str) -> None:
    assert WORD not in redact(text)
    assert "example" in redact(text) or "Authorization" in text


@pytest.mark.parametrize(
    "text",
    [
        "https://index.example/simple/demo/",
        "https://index.example:8443/simple/demo@1.0",
        "git+https://git.example/owner/repository@v1.0",
        "git+https://git.example:8443/owner/repository@v1.0",
        "https://index.example/a.whl?page=2&q=token",
        "demo @ file:///srv/wheels/demo-1.0-py3-none-any.whl",
        "the author is somebody@mail.example",
    ],
)
def test_what_is_not_a_secret_stays(text: str) -> None:
    assert redact(text) == text


PLACES = {
    "a password of an index": {"UV_DEFAULT_INDEX": f"https://user:{WORD}@index.example/simple"},
    "a password with a slash": {"HTTPS_PROXY": f"http://user:{WORD}/x@proxy.example:3128"},
    "a password with a hash": {"https_proxy": f"http://user:#{WORD}@proxy.example:3128"},
    "a proxy without a scheme": {"HTTP_PROXY": f"user:{WORD}@proxy.example:3128"},
    "a proxy with one slash": {"HTTP_PROXY": f"http:/user:{WORD}@proxy.example:3128"},
    "a proxy with no colon": {"ALL_PROXY": f"http//user:{WORD}@proxy.example:3128"},
    "a proxy with a wrong port": {"HTTP_PROXY": f"http://user:{WORD}@proxy.example:port"},
    "a token as the user": {"UV_INDEX_URL": f"https://{WORD}@index.example/simple"},
    "a token in a query": {"UV_FIND_LINKS": f"https://index.example/wheels/?token={WORD}"},
    "the second of several": {"UV_INDEX": f"https://a.example/ b=https://user:{WORD}@b.example/"},
    "the second after a comma": {"UV_FIND_LINKS": f"https://u:other@a.example/,https://user:{WORD}@b.example/"},
    "uv's own variable": {"UV_INDEX_COMPANY_PASSWORD": WORD},
    "a token": {"GITHUB_TOKEN": WORD},
    "an API key": {"MARKETPLACE_API_KEY": WORD},
    "a passphrase": {"DIFYOFF_KEY_PASSPHRASE": WORD},
}


@pytest.mark.parametrize("place", PLACES)
def test_a_known_secret_is_removed_wherever_it_stands(place: str) -> None:
    secrets = Secrets(collect_secrets(PLACES[place]))

    for text in (WORD, f"the word is {WORD}.", f"x={WORD}&y", f"['{WORD}']", f'{{"a": "{WORD}"}}'):
        assert WORD not in secrets.remove(text)


def test_every_spelling_of_a_secret_is_removed() -> None:
    secrets = Secrets(collect_secrets({"HTTPS_PROXY": "http://user:p%40ss%2Fw%22rd@proxy.example"}))

    for text in ('p@ss/w"rd', "p%40ss%2Fw%22rd", 'a \\"p@ss/w\\"rd\\" b', "dXNlcjpwQHNzL3cicmQ="):
        assert "ss" not in secrets.remove(text).replace("pass", "")


def test_secrets_of_files_and_arguments(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text(f"machine index.example login user password {WORD}\n")
    arguments = ("--index-url", "https://user:typed-word@index.example/simple")

    found = set(collect_secrets({"HOME": str(tmp_path)}, arguments))

    assert {WORD, "typed-word"} <= found


@pytest.mark.parametrize(
    "environ",
    [
        {"UV_NATIVE_TLS": "true", "SSH_AUTH_SOCK": "/tmp/agent", "UV_CREDENTIALS_DIR": "/etc", "GPG_KEY_ID": "abcdef"},
        {"UV_KEYRING_AUTH": "never", "TOKEN_LIMIT": "4096", "USE_TOKEN": "1"},
        {"CI_REPOSITORY": "git+https://git.example/owner/repository@v1.0", "PATH": "/usr/bin:/bin"},
        {"HTTP_PROXY": "http://proxy.example:3128", "NO_PROXY": "localhost,.example"},
    ],
)
def test_what_is_not_secret_is_not_taken_for_it(environ: dict[str, str]) -> None:
    assert list(collect_secrets(environ)) == []


def test_a_secret_that_is_part_of_a_word_leaves_the_word_alone() -> None:
    assert Secrets(["pass"]).remove('"verdict": "passed", "word": "pass"') == '"verdict": "passed", "word": "****"'


@given(st.text(st.characters(codec="utf-8"), min_size=4), st.text(), st.text())
def test_nothing_of_a_secret_is_left_between_blanks(secret: str, before: str, after: str) -> None:
    assert secret not in Secrets([secret]).remove(f"{before} {secret} {after}") or secret in f"{before} **** {after}"
