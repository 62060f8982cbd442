"""Verification documents made by hand: every verdict, and one made to attack whoever reads it."""

from difyoff.difypkg.diagnosis import Diagnosis
from difyoff.difypkg.edits import Edit
from difyoff.difypkg.record import TargetRecord
from difyoff.difypkg.site import SiteSetting
from difyoff.render.documents import VerifyDocument, VerifyResult
from difyoff.verify.report import (
    BundledDistribution,
    Check,
    Inventory,
    IsolationRecord,
    MeasuredSize,
    ScenarioReport,
    VerificationReport,
    worst_verdict,
)

HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">{{ 7*7 }}]]>--> "
    "&lt;\x00\x1b[31m\u202egpj.exe\u2066 | `code` @someone\n## heading"
)
"""Markup, a template, controls, bidirectional overrides, a mention, a table cell and a heading."""


def scenario(*checks: Check, daemon: str | None = "0.6.10", findings: tuple[Diagnosis, ...] = ()) -> ScenarioReport:
    return ScenarioReport(
        backend="local" if daemon else "audit",
        daemon=daemon,
        architecture="amd64",
        branch="sync-frozen" if daemon else None,
        uv="0.12.2" if daemon else None,
        isolation=IsolationRecord(rung="netns", proved=True, host_protected=True) if daemon else None,
        checks=checks,
        findings=findings,
    )


def inventory(text: str = "plain") -> Inventory:
    return Inventory(
        release="0.6.10",
        targets=(TargetRecord(architecture="amd64", python="3.12.3", glibc="2.39"),),
        source=text,
        tools="difyoff 0.1.0, uv 0.9.26",
        signature="unsigned",
        requires=("wheel-0",),
        permissions=("model.llm",),
        minimum_dify=None,
        wheels=tuple(
            BundledDistribution(
                name=f"wheel-{number}",
                version="1",
                filename=f"wheel_{number}-1-py3-none-any.whl",
                sha256="0" * 64,
                size=1_000_000,
                licence=text,
                licence_is_expression=False,
                origin=f"https://files.example/{text}",
                built=number == 1,
                requires=("wheel-2",) if number == 0 else (),
            )
            for number in range(20)
        ),
        edits=(Edit(file="pyproject.toml", what=text, why=text),),
        sizes=(MeasuredSize(name="packed", size=60_000_000, limit=52_428_800),),
        site=(SiteSetting(name="FORCE_VERIFYING_SIGNATURE", value="false", where=("plugin_daemon",), reason=text),),
    )


def report(*scenarios: ScenarioReport, text: str = "plain") -> VerificationReport:
    return VerificationReport(
        package=f"/tmp/{text}",
        sha256="a" * 64,
        identity="a/b:1@" + "b" * 64,
        verdict=worst_verdict(each.verdict for each in scenarios),
        scenarios=scenarios,
        not_checked=("the daemon's real image",),
        inventory=inventory(text),
    )


def document(*reports: VerificationReport, name: str = "package.difypkg") -> VerifyDocument:
    results = tuple(VerifyResult(input=name, exit_code=each.exit_code, report=each) for each in reports)
    return VerifyDocument(results=results, exit_code=max(result.exit_code for result in results))


PASSED = scenario(
    Check(name="install", status="passed", seconds=1.5),
    Check(name="distributions", status="passed", message="38 of 38 installed"),
    Check(name="start", status="passed", message="ready in 1.0 s", seconds=1.0),
)
FAULT = Diagnosis(slug="missing-wheel", message="a wheel is missing", context=("idna==3",), hint="Build again.")
FAILED = scenario(Check(name="install", status="failed", diagnosis=FAULT))
BROKEN = scenario(Check(name="isolation", status="error", message="the network is not cut off"))
NOT_RUN = scenario(Check(name="install", status="skipped", required=True, message="there is no uv"))


def hostile(findings: int = 3) -> VerifyDocument:
    bad = Diagnosis(slug="missing-wheel", message=HOSTILE, context=(HOSTILE,) * 3, note=HOSTILE, hint=HOSTILE)
    many = tuple(Diagnosis(slug="network-at-start", message=f"{number} {HOSTILE}") for number in range(findings))
    check = Check(name=HOSTILE, status="failed", message=HOSTILE, diagnosis=bad, evidence=(HOSTILE,))
    return document(report(scenario(check, findings=many), text=HOSTILE), name=f"{HOSTILE}.difypkg")
