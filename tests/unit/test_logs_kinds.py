"""The kinds of failure that a log of a whole site holds, a table of members for each: what is told, and how surely."""

# ruff: noqa: E501 - lines of logs are as long as logs write them

import json

import pytest

from difyoff.difypkg.diagnosis import page
from difyoff.difypkg.logs.failures import log_rules
from difyoff.difypkg.logs.reading import LogReport, diagnose_log

CHECKSUM, OTHER = "5f1c" * 16, "0a2b" * 16
FOLDER = f"/app/storage/cwd/acme/demo-0.0.1@{CHECKSUM}"
TENANT = "0d1c2b3a-0000-4000-8000-00000000000a"


def told(text: str) -> list[tuple[str, str, str]]:
    failures = diagnose_log(text.splitlines()).failures
    return [(each.diagnosis.slug, each.concerns, each.confidence) for each in failures]


# --- B4: network errors that are not uv's: who asked whom, and what is to be mended

ASKED = {
    "the daemon asks PostgreSQL by name": (
        (
            "PANIC failed to init dify plugin db: failed to connect to `user=postgres database=dify_plugin`: "
            "hostname resolving error: lookup db_postgres on 127.0.0.11:53: no such host"
        ),
        ("database-unreachable", "database", "sure"),
    ),
    "the daemon asks PostgreSQL while it starts": (
        (
            "failed to init dify plugin db: failed to connect to `host=db user=postgres database=postgres`: server error "
            "(FATAL: the database system is starting up (SQLSTATE 57P03))"
        ),
        ("database-unreachable", "database", "sure"),
    ),
    "the API asks PostgreSQL by name": (
        'psycopg2.OperationalError: could not translate host name "db" to address: Name or service not known',
        ("database-unreachable", "database", "sure"),
    ),
    "the API asks PostgreSQL that is not there": (
        'psycopg2.OperationalError: connection to server at "db" (172.18.0.3), port 5432 failed: Connection refused',
        ("database-unreachable", "database", "sure"),
    ),
    "the API asks PostgreSQL with a wrong password": (
        (
            'psycopg2.OperationalError: connection to server at "db" (172.18.0.3), port 5432 failed: FATAL:  password '
            'authentication failed for user "postgres"'
        ),
        ("database-refuses", "database", "sure"),
    ),
    "PostgreSQL tells it itself": (
        'db_postgres-1  | 2026-02-01 10:00:00.123 UTC [62] FATAL:  password authentication failed for user "postgres"',
        ("database-refuses", "database", "sure"),
    ),
    "the database ends connections": (
        "sqlalchemy.exc.OperationalError: (psycopg2.OperationalError) server closed the connection unexpectedly",
        ("database-unreachable", "database", "likely"),
    ),
    "the daemon asks Redis": (
        (
            'ERROR dify-plugin-daemon manager.go:168 init redis client failed error="dial tcp 172.18.0.5:6379: connect: '
            'connection refused"'
        ),
        ("redis-unreachable", "redis", "sure"),
    ),
    "the daemon asks Redis without a password": (
        "2025/05/08 07:56:01 manager.go:168: [PANIC]init redis client failed: NOAUTH Authentication required.",
        ("redis-refuses", "redis", "sure"),
    ),
    "the worker asks Redis": (
        (
            "worker-1  | [2026-02-01 10:00:00,123: ERROR/MainProcess] consumer: Cannot connect to redis://:**@redis:6379/1: "
            "Error 111 connecting to redis:6379. Connection refused.."
        ),
        ("redis-unreachable", "redis", "sure"),
    ),
    "the API asks Redis by name": (
        "redis.exceptions.ConnectionError: Error -2 connecting to redis:6379. Name or service not known.",
        ("redis-unreachable", "redis", "sure"),
    ),
    "the API asks Redis that cannot save": (
        "redis.exceptions.ResponseError: MISCONF Redis is configured to save RDB snapshots, but it's currently unable to",
        ("redis-refuses", "redis", "sure"),
    ),
    "the API asks the daemon with a wrong key": (
        f"ERROR [Dummy-1] [base.py:209] - Failed to request plugin daemon, status: 401, url: plugin/{TENANT}/management/list",
        ("daemon-refuses-key", "api", "sure"),
    ),
    "the API asks the daemon by name": (
        "httpx.ConnectError: [Errno -2] Name or service not known\nRequest to Plugin Daemon Service failed",
        ("daemon-unreachable", "plugin_daemon", "sure"),
    ),
    "the daemon asks the API": (
        (
            'ERROR dify-plugin-daemon task.go:1 invoke failed error="Post "http://api:5001/inner/api/invoke/llm": dial tcp: '
            'lookup api on 127.0.0.11:53: no such host"'
        ),
        ("api-unreachable", "api", "sure"),
    ),
    "nginx asks the web service": (
        (
            "nginx-1  | 2025/06/01 09:00:01 [error] 29#29: *1 connect() failed (113: No route to host) while connecting to "
            'upstream, client: 192.0.2.1, server: _, request: "GET /apps HTTP/1.1", upstream: "http://172.18.0.8:3000/apps"'
        ),
        ("upstream-unreachable", "web", "sure"),
    ),
    "nginx asks the daemon": (
        'nginx: [emerg] host not found in upstream "plugin_daemon" in /etc/nginx/conf.d/default.conf:40',
        ("upstream-unreachable", "plugin_daemon", "sure"),
    ),
    "nginx waits too long": (
        (
            "nginx-1  | 2025/06/01 09:00:01 [error] 29#29: *1 upstream timed out (110: Connection timed out) while reading "
            'response header from upstream, client: 192.0.2.1, request: "POST /console/api/x HTTP/1.1", upstream: '
            '"http://172.18.0.7:5001/console/api/x"'
        ),
        ("upstream-timed-out", "api", "sure"),
    ),
    "a plugin asks its model server": (
        (
            "[ollama] Bad Request Error, HTTPConnectionPool(host='10.0.0.9', port=11434): Max retries exceeded with url: "
            "/api/chat (Caused by NewConnectionError('x: Failed to establish a new connection: [Errno 113] No route to host'))"
        ),
        ("service-unreachable", "service", "likely"),
    ),
    "a plugin asks its model server without the right": (
        "PluginInvokeError: [models] Error: Error code: 401 - {'error': 'bad key'}",
        ("service-refuses", "service", "likely"),
    ),
    "a proxy between": (
        (
            "HTTPSConnectionPool(host='models.example', port=443): Max retries exceeded with url: /v1 (Caused by "
            "ProxyError('Cannot connect to proxy.', OSError('Tunnel connection failed: 403 Forbidden')))"
        ),
        ("proxy-in-the-way", "network", "sure"),
    ),
    "the API asks the vector store": (
        "worker-1  | weaviate.exceptions.WeaviateStartUpError: Weaviate did not start up in 5 seconds.",
        ("vector-store-unreachable", "vector_store", "sure"),
    ),
    "the API asks MinIO": (
        'botocore.exceptions.EndpointConnectionError: Could not connect to the endpoint URL: "http://minio:9000/dify"',
        ("object-storage-failed", "storage", "sure"),
    ),
    "the daemon asks another daemon": (
        'ERROR dify-plugin-daemon middleware.go:1 redirect request failed error="no available ip found"',
        ("cluster-node-unreachable", "plugin_daemon", "likely"),
    ),
}


@pytest.mark.parametrize("name", ASKED)
def test_who_asked_whom(name: str) -> None:
    text, expected = ASKED[name]
    report = diagnose_log(text.splitlines())
    assert [(each.diagnosis.slug, each.concerns, each.confidence) for each in report.failures] == [expected]
    assert report.main is not None
    assert report.main.asker or expected[0] == "proxy-in-the-way"


# --- B6: the stage is unknown, though its cause stands there · B7: what fails on the site only

MACHINE = {
    "seccomp of an old Docker": ("pthread_create failed: Operation not permitted", "host-forbids-threads", "sure"),
    "limit of processes": (
        "fork/exec /usr/local/bin/uv: resource temporarily unavailable",
        "host-forbids-threads",
        "sure",
    ),
    "no more threads": ("RuntimeError: can't start new thread", "host-forbids-threads", "sure"),
    "noexec": (f"ImportError: {FOLDER}/.venv/x.so: failed to map segment from shared object", "volume-noexec", "sure"),
    "processor": ("Fatal glibc error: CPU does not support x86-64-v2", "cpu-too-old", "sure"),
    "processor, by the signal": (
        "plugin failed to start: signal: illegal instruction (core dumped)",
        "cpu-too-old",
        "likely",
    ),
    "glibc": ("ImportError: libc.so.6: version `GLIBC_2.41' not found (required by x.so)", "glibc-too-old", "sure"),
    "moved": ("ModuleNotFoundError: No module named 'encodings'", "copied-venv", "likely"),
    "image of another processor": ("exec /app/entrypoint.sh: exec format error", "image-wrong-architecture", "likely"),
    "environment of another processor": (
        f"fork/exec {FOLDER}/.venv/bin/python: exec format error",
        "wrong-platform",
        "likely",
    ),
    "memory, told by the kernel": (
        "Nov 25 13:00:00 node1 kernel: Memory cgroup out of memory: Killed process 4242 (python) total-vm:1kB",
        "out-of-memory",
        "sure",
    ),
    "memory, told by Kubernetes": ("Last State: Terminated Reason: OOMKilled Exit Code: 137", "out-of-memory", "sure"),
    "memory, told by the code": ("worker-1 exited with code 137", "out-of-memory", "likely"),
    "disk": ("write /app/storage/plugin/x: no space left on device", "disk-full", "sure"),
    "port": ("Bind for 0.0.0.0:80 failed: port is already allocated", "port-in-use", "sure"),
    "image": (
        "manifest for langgenius/dify-plugin-daemon:9.9.9-local not found: manifest unknown",
        "image-not-pulled",
        "sure",
    ),
    "busy worker": (
        "[2026-02-01 10:00:00 +0000] [1] [CRITICAL] WORKER TIMEOUT (pid:33)",
        "api-worker-timed-out",
        "sure",
    ),
    "keys of a workspace": (
        f"libs.rsa.PrivkeyNotFoundError: Private key not found, tenant_id: {TENANT}",
        "tenant-key-lost",
        "sure",
    ),
}


@pytest.mark.parametrize("name", MACHINE)
def test_the_machine_and_the_services_are_answers(name: str) -> None:
    text, slug, confidence = MACHINE[name]
    [(seen, concerns, how)] = told(text)
    assert (seen, how) == (slug, confidence)
    assert concerns not in ("package", "unknown") or slug in ("glibc-too-old", "wrong-platform")


@pytest.mark.parametrize("length", [20, 200, 500])
def test_the_reason_of_a_failed_import_is_found_whatever_its_length(length: int) -> None:
    module = "x" * length
    text = f'plugin failed to start: Traceback (most recent call last):\n  File "{FOLDER}/main.py", line 1\n'
    report = diagnose_log((text + f"ImportError: cannot import name '{module}' from 'y'").splitlines())
    assert report.cause.slug == "plugin-does-not-start"
    assert "cannot import name" in report.cause.message


@pytest.mark.parametrize(
    "text",
    [
        "./tool-linux-amd64: /lib/libc.so.6: version `GLIBC_2.34' not found (required by ./tool-linux-amd64)",
        "node: /lib64/libm.so.6: version `GLIBC_2.27' not found (required by node)",
        "0.0.1b22, 0.0.1b40)\nERROR: No matching distribution found for demo>=0.5.0",
    ],
)
def test_what_a_text_does_not_decide_is_not_told(text: str) -> None:
    assert told(text) == []


@pytest.mark.parametrize("path", ["x.so", "/a/.venv/bin/python", "/a/site-packages/b/libc.so.1"])
def test_a_library_of_the_plugin_that_needs_a_newer_system(path: str) -> None:
    text = f"/lib/libc.so.6: version `GLIBC_2.41' not found (required by {path})"
    assert told(text) == [("glibc-too-old", "package", "sure")]


# --- B8: a running process and an install are told apart

KILLED = {
    "install, killed": (
        "failed to install dependencies: signal: killed, output: x",
        [("install-timed-out", "plugin_daemon", "possible")],
    ),
    "running, killed": (
        "2025/10/31 19:08:51 run.go:135: [ERROR]plugin acme/demo:0.0.25 exited with error: signal: killed",
        [("plugin-killed", "plugin", "possible")],
    ),
    "running, after a missed heartbeat": (
        (
            "2025/10/31 19:08:50 stdio.go:248: [ERROR]plugin acme/demo:0.0.25 is not active for 120.5 seconds, it may be dead\n"
            "2025/10/31 19:08:51 run.go:135: [ERROR]plugin acme/demo:0.0.25 exited with error: signal: killed"
        ),
        [("heartbeat-missed", "plugin", "sure")],
    ),
    "running, after a line that is too long": (
        (
            "2025/10/31 19:08:50 stdio.go:179: [ERROR]plugin acme/demo:0.0.25 has an error on stdout: bufio.Scanner: token too long\n"
            "2025/10/31 19:08:51 run.go:135: [ERROR]plugin acme/demo:0.0.25 exited with error: signal: killed"
        ),
        [("plugin-output-too-long", "plugin", "sure")],
    ),
    "another plugin's heartbeat explains nothing": (
        (
            "2025/10/31 19:08:50 stdio.go:248: [ERROR]plugin acme/else:1.0.0 is not active for 120.5 seconds, it may be dead\n"
            "2025/10/31 19:08:51 run.go:135: [ERROR]plugin acme/demo:0.0.25 exited with error: signal: killed"
        ),
        [("heartbeat-missed", "plugin", "sure"), ("plugin-killed", "plugin", "possible")],
    ),
}


@pytest.mark.parametrize("name", KILLED)
def test_what_was_killed(name: str) -> None:
    text, expected = KILLED[name]
    assert told(text) == expected


# --- B9: fields are fields, in any order; wordings of all releases


@pytest.mark.parametrize(
    "line",
    [
        f"Failed to request plugin daemon, status: 400, url: plugin/{TENANT}/management/decode/from_identifier",
        f"WARN dify-plugin-daemon middleware.go:83 HTTP request status=400 path=/plugin/{TENANT}/management/decode/from_identifier",
        f"WARN dify-plugin-daemon middleware.go:83 HTTP request path=/plugin/{TENANT}/management/decode/from_identifier?x=1 status=400",
        f'[GIN] 2026/04/14 - 07:22:13 | 400 | 1ms | 192.0.2.1 | GET "/plugin/{TENANT}/management/decode/from_identifier"',
        json.dumps(
            {"level": "WARN", "msg": "HTTP request", "path": "/management/decode/from_identifier", "status": 400}
        ),
    ],
)
def test_fields_are_read_in_any_order(line: str) -> None:
    assert told(line) == [("api-daemon-mismatch", "plugin_daemon", "possible")]


@pytest.mark.parametrize(
    "text",
    [
        "no available node, plugin not found",
        "no available node, plugin runtime not found",
        "no available node, local plugin runtime not found",
        "[ERROR]PluginDaemonInternalServerError:  no  available  node,  plugin  runtime  not  found",
        'no plugin available nodes found plugin="acme/demo:0.0.1"',
        "no proper instance",
    ],
)
def test_a_plugin_that_does_not_run_in_the_words_of_every_release(text: str) -> None:
    assert told(text) == [("plugin-not-running", "plugin", "likely")]


def test_a_declaration_that_its_sdk_refuses() -> None:
    text = (
        "2025/03/27 08:00:00 run.go:131: [ERROR]plugin acme/demo:0.0.1 exited with error: exit status 1\n"
        "pydantic_core._pydantic_core.ValidationError: 2 validation errors for ToolConfiguration\nidentity.author\n"
    )
    assert told(text) == [("plugin-does-not-start", "package", "sure")]


# --- A8: each failure under its own plugin's name

WHEEL = "Because certifi was not found in the provided package locations and tqdm==1.0 depends on certifi>=2024"
MODULE = f'File "{FOLDER}/main.py" ModuleNotFoundError: No module named "yaml"'


def named(report: LogReport) -> dict[str, list[str]]:
    return {each.diagnosis.slug: [plugin.release for plugin in each.plugins] for each in report.failures}


TWO = {
    "text": [
        f'2026-04-15T03:00:01Z ERROR dify-plugin-daemon logger.go:24 local runtime start failed plugin=acme/one:0.0.1@{OTHER} error="{WHEEL}"',
        f'2026-04-15T03:00:02Z ERROR dify-plugin-daemon logger.go:24 local runtime start failed error="plugin failed to start: ImportError: libGL.so.1: cannot open shared object file" plugin=acme/two:0.0.2@{CHECKSUM}',
    ],
    "json": [
        json.dumps({"severity": "ERROR", "message": "failed", "attributes": {"error": WHEEL, "plugin": f"acme/one:0.0.1@{OTHER}"}}),
        json.dumps({"severity": "ERROR", "message": "failed", "attributes": {"plugin": f"acme/two:0.0.2@{CHECKSUM}", "error": "ImportError: libGL.so.1: cannot open shared object file"}}),
    ],
    "up to 0.4.1": [
        "2025/11/05 12:00:00 full_duplex.go:59: [INFO]init environment for plugin acme/one:0.0.1",
        f"2025/11/05 12:00:00 full_duplex.go:65: [ERROR]init environment failed: failed to install dependencies: {WHEEL}, retrying",
        "2025/11/05 12:00:01 full_duplex.go:29: [INFO]plugin acme/one:0.0.1 has exited",
        "2025/11/05 12:00:02 full_duplex.go:59: [INFO]init environment for plugin acme/two:0.0.2",
        "2025/11/05 12:00:03 full_duplex.go:65: [ERROR]init environment failed: libGL.so.1: cannot open shared object file, retrying",
    ],
    "what people paste": [
        f"installing plugin acme/one:0.0.1@{OTHER}",
        WHEEL,
        f"installing plugin acme/two:0.0.2@{CHECKSUM}",
        "plugin failed to start: ImportError: libGL.so.1: cannot open shared object file",
    ],
}  # fmt: skip


@pytest.mark.parametrize("form", TWO)
def test_failures_of_two_plugins_are_told_apart(form: str) -> None:
    report = diagnose_log(TWO[form])
    assert named(report) == {"missing-wheel": ["acme/one:0.0.1"], "system-library-missing": ["acme/two:0.0.2"]}


def test_of_two_plugins_at_work_none_is_chosen_by_guess() -> None:
    report = diagnose_log(
        [
            "2025/11/05 12:00:00 full_duplex.go:59: [INFO]init environment for plugin acme/one:0.0.1",
            "2025/11/05 12:00:00 full_duplex.go:59: [INFO]init environment for plugin acme/two:0.0.2",
            f"2025/11/05 12:00:03 full_duplex.go:65: [ERROR]init environment failed: {WHEEL}, retrying",
        ]
    )
    assert named(report) == {"missing-wheel": ["acme/one:0.0.1", "acme/two:0.0.2"]}


def test_failures_of_two_components_are_told_apart() -> None:
    report = diagnose_log(
        [
            "plugin_daemon-1  | read wheels: is a directory",
            'nginx-1          | 2025/06/01 09:00:01 [error] 29#29: *1 connect() failed (111: Connection refused) while connecting to upstream, upstream: "http://172.18.0.7:5001/x"',
            "plugin_daemon-1  | package decode failed",
        ]
    )  # fmt: skip
    assert [(each.component, each.diagnosis.slug) for each in report.failures] == [
        ("plugin_daemon", "directory-entry"),
        ("nginx", "upstream-unreachable"),
    ]


def test_a_failure_that_repeats_is_counted() -> None:
    line = "2025/11/05 12:00:{:02} manager.go:168: [PANIC]init redis client failed: dial tcp: lookup redis: i/o timeout"
    [failure] = diagnose_log([line.format(second) for second in range(30)]).failures
    assert (failure.count, failure.first.line, failure.last.line) == (30, 1, 30)
    assert (failure.first.time, failure.last.time) == ("2025/11/05 12:00:00", "2025/11/05 12:00:29")


# --- A9, A10: a sentence proves only what it says


@pytest.mark.parametrize(
    "text",
    [
        "os{code:1,kind:PermissionDenied}",
        "Os { code: 13, kind: NotFound }",
        'metrics{handler="/x"} 1',
        "{sys_platform == 'win",
        "cffi{sys_platform == 'win",
    ],
)
def test_what_is_not_a_marker_is_not_a_resolution(text: str) -> None:
    assert "universal-resolution" not in {slug for slug, _, _ in told(text)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            (
                "ERROR: Could not find a version that satisfies the requirement x==1 (from versions: none)\n"
                "ERROR: No matching distribution found for x==1"
            ),
            ("index-unreachable", "index", "likely"),
        ),
        (
            (
                "ERROR: Could not find a version that satisfies the requirement x==9 (from versions: 0.1, 0.2)\n"
                "ERROR: No matching distribution found for x==9"
            ),
            ("packager-python-too-old", "package", "likely"),
        ),
        ("ERROR: No matching distribution found for x==9", ("index-unreachable", "index", "possible")),
    ],
)
def test_no_matching_distribution_hangs_on_the_versions(text: str, expected: tuple[str, str, str]) -> None:
    assert told(text) == [expected]


def test_a_module_that_the_api_lacks_is_not_the_plugins() -> None:
    text = 'api-1  | Traceback (most recent call last):\napi-1  |   File "/app/api/app.py", line 1\napi-1  | ModuleNotFoundError: No module named "x"'
    assert told(text) == [("api-failed", "api", "possible")]


def test_a_plugins_own_database_is_not_difys() -> None:
    text = (
        'PluginInvokeError: {"args":{},"error_type":"OperationalError","message":"connection to server at \\"erp\\" '
        '(10.0.0.1), port 5432 failed: FATAL:  password authentication failed for user \\"x\\""}'
    )
    assert {concerns for _, concerns, _ in told(text)} == {"plugin"}


# --- What the plugins and the daemon say of themselves

OWN = {
    "plugin package not found, please upload it firstly": ("plugin-package-lost", "storage", "likely"),
    "permission denied, you need to enable llm access in plugin manifest": ("plugin-permission-missing", "plugin", "sure"),
    "an error occurred during credentials validation: wrong model": ("service-refuses", "service", "likely"),
    "yaml: unmarshal errors: line 3: cannot unmarshal !!str `true` into bool": ("manifest-invalid", "package", "likely"),
    "Key: 'X.Author' Error:Field validation for 'Author' failed on the 'required' tag": ("manifest-invalid", "package", "likely"),
    "ImportError: libGL.so.1: cannot open shared object file: No such file or directory": ("system-library-missing", "package", "sure"),
    "bufio.Scanner: token too long": ("plugin-output-too-long", "plugin", "sure"),
    "FATAL:  database files are incompatible with server": ("database-does-not-start", "database", "sure"),
    "alembic.util.exc.CommandError: Can't locate revision identified by 'abc123'": ("database-schema-outdated", "database", "sure"),
}  # fmt: skip


@pytest.mark.parametrize("text", OWN)
def test_what_is_said_plainly(text: str) -> None:
    assert told(text) == [OWN[text]]


# --- Lines that are normal, and errors that nobody knows

NORMAL = [
    '2025/07/04 06:15:37 /app/internal/db/executor.go:259 record not found\n[5.7ms] [rows:0] SELECT * FROM "plugins" WHERE plugin_id = \'a/b\' ORDER BY "plugins"."id" LIMIT 1',
    "bash: warning: setlocale: LC_ALL: cannot change locale (en_US.UTF-8)",
    "plugin_daemon-1  | <Greenlet at 0x7f: run> failed with KeyboardInterrupt",
    "Exception ignored in: <function _after_fork at 0x7f>\nKeyError: 140",
    "api-1  | None of PyTorch, TensorFlow >= 2.0, or Flax have been found.",
    "api-1  | /app/api/.venv/lib/x.py:8: SyntaxWarning: invalid escape sequence",
    "ERROR dify-plugin-daemon io.go:1 unmarshal json failed, failed to parse session message",
    "db-1  | 2026-02-01 10:00:00.123 UTC [62] FATAL:  the database system is starting up",
    '[error] failed to initialize database, got error failed to connect to `host=db user=postgres database=dify_plugin`: server error (FATAL: database "dify_plugin" does not exist (SQLSTATE 3D000))',
    "redis-1  | 1:C 01 Feb 2026 10:00:00.000 # WARNING Memory overcommit must be enabled!",
    "nginx-1  | 2025/06/01 09:00:01 [warn] 29#29: *1 a client request body is buffered to a temporary file /x",
    "warning: Failed to hardlink files; falling back to full copy.",
    "2025/08/26 08:22:45 node.go:213: [INFO]node 593e2424 has been removed from the cluster due to being disconnected",
]  # fmt: skip


@pytest.mark.parametrize("text", NORMAL)
def test_what_is_normal_is_named_so(text: str) -> None:
    report = diagnose_log(text.splitlines())
    assert report.failures == ()
    assert [each.diagnosis.slug for each in report.normal] == ["normal-line"]
    assert report.cause.slug == "cause-not-found"


def test_shutdown_noise_does_not_hide_the_reason() -> None:
    text = (
        f'plugin failed to start: Traceback (most recent call last):\n  File "{FOLDER}/main.py", line 3, in <module>\n'
        "ModuleNotFoundError: No module named 'yaml'\nException ignored in: <function _after_fork at 0x7f>\n"
        "Traceback (most recent call last):\nImportError: sys.meta_path is None, Python is likely shutting down\n"
    )
    report = diagnose_log(text.splitlines())
    assert "yaml" in report.cause.message
    assert report.normal


def test_an_error_that_no_rule_knows_is_called_unknown() -> None:
    line = "2026-04-01T10:00:00.{}Z ERROR dify-plugin-daemon x.go:1 something new went wrong code=17"
    report = diagnose_log([line.format(number) for number in range(5)])
    assert report.failures == ()
    assert [(each.count, each.component, each.first.line) for each in report.unknown] == [(5, "plugin_daemon", 1)]
    assert "something new" in report.unknown[0].text


def test_every_rule_says_what_is_to_be_mended_and_has_a_page() -> None:
    for rule in log_rules():
        assert page(rule.slug).text
        assert rule.hint[0].isupper() or rule.hint[0] in "`{"
        assert rule.hint.endswith((".", "`."))
