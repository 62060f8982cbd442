"""Logs as they are written and stored: encodings, line ends, and the heads of every service's lines."""

# ruff: noqa: E501 - lines of logs are as long as logs write them

import gzip
import io
import json
import tracemalloc
from collections.abc import Iterator

import pytest

from difyoff.difypkg.diagnosis import DifyoffError
from difyoff.difypkg.logs.decoding import log_lines
from difyoff.difypkg.logs.reading import diagnose_log
from difyoff.difypkg.logs.records import read_records

TEXT = "read wheels: is a directory\npackage decode failed — ünd\n"
LINES = TEXT.splitlines()


def lines(data: bytes) -> list[str]:
    return list(log_lines(io.BytesIO(data)))


FORMS = {
    "UTF-8": TEXT.encode(),
    "UTF-8 with a mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "UTF-16 with a mark": TEXT.encode("utf-16"),
    "UTF-16 big-endian with a mark": b"\xfe\xff" + TEXT.encode("utf-16-be"),
    "UTF-16 without a mark": TEXT.encode("utf-16-le"),
    "UTF-16 big-endian without a mark": TEXT.encode("utf-16-be"),
    "Windows' line ends": TEXT.replace("\n", "\r\n").encode(),
    "old line ends": TEXT.replace("\n", "\r").encode(),
    "UTF-16 with Windows' line ends": TEXT.replace("\n", "\r\n").encode("utf-16"),
    "gzip": gzip.compress(TEXT.encode()),
    "gzip in two members": gzip.compress(LINES[0].encode() + b"\n") + gzip.compress(LINES[1].encode()),
    "gzip of UTF-16": gzip.compress(TEXT.encode("utf-16")),
    "no end of the last line": TEXT.rstrip().encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_log_is_read_in_every_form(form: str) -> None:
    assert lines(FORMS[form]) == LINES


def test_a_gzip_file_that_is_cut_short_tells_what_it_has() -> None:
    data = gzip.compress("\n".join(f"{number} {number * 7919}" for number in range(5000)).encode())
    read = lines(data[: len(data) // 2])
    assert 100 < len(read) < 5000
    assert read[:2] == ["0 0", "1 7919"]


@pytest.mark.parametrize("data", [b"PK\x03\x04rest", b"\xfd7zXZ\x00", b"(\xb5/\xfdrest", b"BZh91AY"])
def test_an_archive_is_refused_with_its_name(data: bytes) -> None:
    with pytest.raises(DifyoffError, match="not text") as raised:
        lines(data)
    assert raised.value.diagnosis.slug == "file-not-readable"


def test_bytes_that_are_not_text_are_survived() -> None:
    assert len(lines(bytes(range(256)) * 10)) > 1


class Trickle(io.BytesIO):
    """A pipe that gives a byte at a time."""

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read1(1)


def test_a_pipe_may_give_a_byte_at_a_time() -> None:
    assert list(log_lines(Trickle(FORMS["UTF-16 with Windows' line ends"]))) == LINES


HEADS = {
    "slog": ("2026-04-01T10:00:00.1Z ERROR dify-plugin-daemon x.go:1 boom", "plugin_daemon", "ERROR", "boom"),
    "Go's log": ("2025/11/05 12:00:00 full_duplex.go:65: [ERROR]boom", "plugin_daemon", "ERROR", "boom"),
    "Go's log, coloured": (
        "2025/11/05 12:00:00 a/b.go:65: \x1b[31m[ERROR]boom\x1b[0m",
        "plugin_daemon",
        "ERROR",
        "boom",
    ),
    "Python": ("2025-03-27 07:08:49,616 ERROR [base.py:67] boom", "", "ERROR", "boom"),
    "Python with a thread": ("2025-08-22 09:32:53.444 ERROR [Dummy-6] [base.py:161] - boom", "", "ERROR", "boom"),
    "Python with a trace": ("2026-04-15 12:13:22.890 INFO [Dummy-2] [_client.py:1025] 66ce - boom", "", "INFO", "boom"),
    "Celery": ("[2024-07-06 04:59:32,823: ERROR/MainProcess] boom", "worker", "ERROR", "boom"),
    "gunicorn": ("[2026-02-01 10:00:00 +0000] [1] [ERROR] boom", "api", "ERROR", "boom"),
    "nginx": ("2025/06/01 09:00:01 [error] 29#29: *1 boom", "nginx", "ERROR", "*1 boom"),
    "PostgreSQL": ("2026-02-01 10:00:00.123 UTC [62] FATAL:  boom", "db", "FATAL", "boom"),
    "Redis": ("1:M 01 Feb 2026 10:00:00.000 # boom", "redis", "", "boom"),
    "the kernel": ("Nov 25 13:00:00 node1 kernel: boom", "host", "", "boom"),
    "logfmt": ('time=2026-04-01T10:00:00Z level=ERROR msg="boom"', "", "ERROR", 'msg="boom"'),
    "JSON": (
        '{"ts":"t","severity":"ERROR","service":"dify-plugin-daemon","message":"boom"}',
        "plugin_daemon",
        "ERROR",
        "boom",
    ),
    "zap": ('{"level":"error","ts":1,"caller":"x/y.go:3","msg":"boom"}', "plugin_daemon", "ERROR", "boom"),
    "Python's JSON": ('{"levelname":"ERROR","asctime":"t","name":"x","message":"boom"}', "", "ERROR", "boom"),
}
CARRIED = {
    "bare": ("{}", ""),
    "compose": ("docker-plugin_daemon-1  | {}", "plugin_daemon"),
    "compose, other folder": ("my_dify-worker_beat-1 | {}", "worker"),
    "Docker Desktop": ("2025-04-16 21:29:32 api-1            | {}", "api"),
    "compose with times": ("docker-nginx-1  | 2026-04-01T10:00:00.123456789Z {}", "nginx"),
    "kubectl --prefix": ("[pod/dify-plugin-daemon-6c8d9f7b5-abcde/plugin-daemon] {}", "plugin_daemon"),
    "kubectl --prefix --timestamps": ("[pod/dify-api-0/api] 2026-04-01T10:00:00.123456789Z {}", "api"),
    "kubectl --timestamps": ("2026-04-01T10:00:00.123456789Z {}", ""),
    "containerd": ("2026-04-01T10:00:00.123456789Z stderr F {}", ""),
}  # fmt: skip


@pytest.mark.parametrize("carrier", CARRIED)
@pytest.mark.parametrize("head", HEADS)
def test_a_line_is_freed_of_what_carried_it_and_of_its_head(carrier: str, head: str) -> None:
    line, component, level, text = HEADS[head]
    frame, source = CARRIED[carrier]
    [record] = read_records([frame.format(line)])
    assert (record.component, record.level, " ".join(record.lines).strip()) == (source or component, level, text)
    assert record.whole


def test_docker_json_file_lines_are_joined_again() -> None:
    long = "x" * 16384
    parts = [
        json.dumps({"log": long, "stream": "stderr", "time": "t"}),
        json.dumps({"log": "read wheels: is a directory\n", "stream": "stderr", "time": "t"}),
    ]
    assert diagnose_log(parts).cause.slug == "directory-entry"


def test_a_line_cut_by_the_runtime_is_joined_again() -> None:
    parts = ["2026-04-01T10:00:00Z stderr P read whe", "2026-04-01T10:00:00Z stderr F els: is a directory"]
    assert diagnose_log(parts).cause.slug == "directory-entry"


def test_lines_of_two_components_that_are_mixed_are_kept_apart() -> None:
    mixed = [
        "api-1            | 2025-03-27 07:08:49,616 ERROR [base.py:67] first",
        "plugin_daemon-1  | 2025/11/05 12:00:00 x.go:65: [ERROR]other",
        "api-1            | Traceback (most recent call last):",
        "plugin_daemon-1  | its second line",
        "api-1            | ValueError: x",
    ]
    records = {record.component: record.lines for record in read_records(mixed)}
    assert records == {
        "api": ("first", "Traceback (most recent call last):", "ValueError: x"),
        "plugin_daemon": ("other", "its second line"),
    }


def test_requests_that_succeeded_are_left_out() -> None:
    quiet = [
        "[GIN] 2025/07/04 - 06:15:37 | 200 |    18.05767ms |   10.0.0.16 | POST     \"/x\"",
        "2026-04-01T10:00:00Z INFO dify-plugin-daemon middleware.go:83 HTTP request path=/x status=200",
        '2026-04-15 12:13:22.890 INFO [D] [_client.py:1025] a - HTTP Request: GET http://x "HTTP/1.1 200 OK"',
        '192.0.2.1 - - [25/Nov/2026:13:00:00 +0000] "GET / HTTP/1.1" 200 12 "-"',
    ]  # fmt: skip
    assert list(read_records(quiet)) == []


CAUSE = "Because certifi was not found in the provided package locations and tqdm==1.0 depends on certifi>=2024"


@pytest.mark.parametrize("where", [0, 0.3, 0.5, 0.999])
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_of_5_mb_holds_its_cause_anywhere(where: float, form: str) -> None:
    before = int(5_000_000 * where)
    text = "x" * before + f" {CAUSE} " + "y" * (5_000_000 - before)
    line = text if form == "text" else json.dumps({"level": "ERROR", "message": text})
    assert diagnose_log([line]).cause.slug == "missing-wheel"


def test_a_long_log_needs_little_memory() -> None:
    def log() -> Iterator[str]:
        for number in range(8_000):
            yield f'plugin_daemon-1  | 2026-04-01T10:00:00.{number:09}Z INFO dify-plugin-daemon x.go:1 busy n={number} plugin="a/b:1.0.{number}"'
            yield f"api-1  | 2026-04-01 10:00:00.123 ERROR [D] [x.py:1] - no rule knows number {number}"
        yield f"plugin_daemon-1  | 2026-04-01T10:00:00Z ERROR dify-plugin-daemon x.go:1 failed error={CAUSE!r}"

    diagnose_log([CAUSE])  # rules are loaded once
    tracemalloc.start()
    try:
        report = diagnose_log(log())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.cause.slug == "missing-wheel"
    assert peak < 4_000_000
