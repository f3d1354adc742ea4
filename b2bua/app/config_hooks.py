"""Settings of what the switch asks other servers about single calls: verification (R20), announcements (RFC 4240)."""

import base64
import re
import ssl
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator

from b2bua.app.config_section import Section
from b2bua.app.config_values import Advertise, File, Positive, Seconds, Text, Whole
from b2bua.call.settings import PromptSettings
from routing.decide import Reason
from routing.targets import Target

if TYPE_CHECKING:
    from b2bua.app.config_models import Settings

__all__ = ["Prompts", "Verification", "check_hooks", "hook_context", "prompt_settings", "secret_problem"]

SHORTEST_SECRET = 16
LONGEST_URL = 512
# What is left of routing.decision_seconds for the way of the hook's answer to the switch.
MARGIN_MS = 200

Finding = tuple[str, str, object, str]  # section, key, value, problem and fix


def parse_hook_url(text: str) -> str:
    """An http or https URL without user and fragment; '' is none."""
    fix = 'write, for example, "https://platform.example/verify", or "" for no hook'
    if not text:
        return ""
    if not re.fullmatch(rf"[!-~]{{1,{LONGEST_URL}}}", text):
        raise ValueError(f"must be up to {LONGEST_URL} printable characters without blanks; {fix}")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"is no URL ({error}); {fix}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError(f"is no http or https URL with a host; {fix}")
    if parts.username is not None or parts.fragment:
        raise ValueError(f"must hold neither a user nor a fragment; {fix}")
    return text


def parse_prompt_url(text: str) -> str:
    """What the names of prompts are put behind; '' is none."""
    if text and not re.fullmatch(rf"([A-Za-z][A-Za-z0-9+.-]*:|/)[!-~]{{0,{LONGEST_URL}}}", text):
        raise ValueError('must be a URL, or a path of the media server; write "file:///prompts/" or "/provisioned/"')
    return text


def parse_prompt_files(files: object) -> Mapping[str, str]:
    """Prompt names by refusal reason."""
    fix = 'write a line for each under [prompts.files], such as caller_unbound = "unbound.wav"'
    if not isinstance(files, Mapping):
        raise ValueError(f"must be a table; {fix}")
    reasons = [str(reason) for reason in Reason]
    for reason, file in files.items():
        if reason not in reasons:
            raise ValueError(f"{reason!r} is no reason of a rule; the reasons are {', '.join(reasons)}")
        if not isinstance(file, str) or not re.fullmatch(r"[!-~]{0,128}", file):
            raise ValueError(f"the prompt of {reason} must be up to 128 printable characters without blanks; {fix}")
    return dict(files)


class Verification(Section):
    url: Annotated[Text, AfterValidator(parse_hook_url)] = Field(
        default="",
        examples=["https://platform.example/verify"],
        description="Where a call that the rules admit is put to the verification hook (R20), by POST. Empty: no hook.",
    )
    scope: Literal["none", "scenario", "all"] = Field(
        default="none",
        description="What is put to the hook: none, scenario (calls and messages of scenarios that ask for it) or all.",
    )
    on_failure: Literal["closed", "open"] = Field(
        default="closed",
        description="When the hook gives no answer: closed refuses with 503, open lets the call through.",
    )
    timeout_ms: Annotated[Positive, Field(le=10_000)] = Field(
        default=500, description="Longest wait for one answer, in milliseconds."
    )
    deadline_ms: Annotated[Positive, Field(le=30_000)] = Field(
        default=1500,
        description="Longest wait for all tries of one verification, in milliseconds; less than "
        "routing.decision_seconds.",
    )
    retry_percent: Annotated[Whole, Field(le=100)] = Field(
        default=10,
        description="Failed questions are asked again, as long as that adds at most this percentage to all. 0: never.",
    )
    connections: Annotated[Positive, Field(le=1000)] = Field(
        default=100, description="Verifications, and connections to the hook, at one time; above, a failure at once."
    )
    breaker_failures: Positive = Field(
        default=50, description="After so many failed verifications in a row the hook is not asked for a while."
    )
    breaker_seconds: Seconds = Field(
        default=2.0, description="So long, in seconds; then one verification finds out whether it answers again."
    )
    ca: File = Field(
        default=None,
        description="Certificates that sign the hook's, PEM, for an https URL; empty: those of the system.",
    )


class Prompts(Section):
    server: Advertise = Field(
        default=None,
        examples=["192.0.2.9:5060"],
        description="Media server (RFC 4240) that plays announcements to refused callers, address and port; empty: "
        "none are played.",
    )
    transport: Literal["udp", "tcp", "tls"] = Field(
        default="udp", description="Transport to it: udp, tcp or tls; needs a listener of the same transport."
    )
    url: Annotated[Text, AfterValidator(parse_prompt_url)] = Field(
        default="",
        examples=["file:///prompts/"],
        description="What the names of the prompts below are put behind: a URL that the media server can read.",
    )
    answer_seconds: Annotated[Seconds, Field(le=10)] = Field(
        default=2.0, description="A media server that has not answered after these seconds is done without."
    )
    longest_seconds: Annotated[Seconds, Field(le=150)] = Field(
        default=20.0,
        description="Longest announcement, in seconds; proxies give a call up that rings for three minutes.",
    )
    repeat: Annotated[Positive, Field(le=10)] = Field(default=1, description="How often an announcement is played.")
    calls: Positive = Field(
        default=200, description="Announcements at one time; above, callers are refused without one."
    )
    files: Annotated[Mapping[str, str], PlainValidator(parse_prompt_files), PlainSerializer(dict)] = Field(
        default={
            "block_unknown": "unknown.wav",
            "caller_unbound": "unbound.wav",
            "binding_expired": "expired.wav",
            "binding_ended": "expired.wav",
            "direction_barred": "barred.wav",
        },
        description="The prompt of each refusal reason; a reason that is not in this table has none.",
    )


def secret_problem(secret: str) -> str:
    """What is wrong with what requests are signed with, '' for nothing. It may be any text, or the secret of Standard
    Webhooks 1.0.0: base64 behind whsec_."""
    if secret and len(secret) < SHORTEST_SECRET:
        return f"is shorter than {SHORTEST_SECRET} characters; write a longer one, or take it out to sign nothing"
    try:
        base64.b64decode(secret.removeprefix("whsec_") if secret.startswith("whsec_") else "", validate=True)
    except ValueError:
        return "holds no base64 behind whsec_; write the secret as it was given"
    return ""


def hook_context(verification: Verification) -> ssl.SSLContext:
    """How the hook has to prove itself. OSError when the certificates cannot be read."""
    return ssl.create_default_context(cafile=verification.ca)


def prompt_settings(prompts: Prompts) -> PromptSettings | None:
    """For the switch; None: nothing is announced."""
    if prompts.server is None:
        return None
    server = prompts.server
    return PromptSettings(
        target=Target(prompts.transport.upper(), server.host, server.port, server),
        url=prompts.url,
        files=prompts.files,
        answer_seconds=prompts.answer_seconds,
        longest_seconds=prompts.longest_seconds,
        repeat=prompts.repeat,
        most=prompts.calls,
    )


def check_hooks(settings: "Settings") -> Iterator[Finding]:
    """What is wrong about keys together."""
    verification, prompts = settings.verification, settings.prompts
    if verification.scope != "none" and not verification.url:
        text = 'is empty, and scope wants calls verified; write the hook\'s URL, or scope = "none"'
        yield "verification", "url", "", text
    if verification.timeout_ms > verification.deadline_ms:
        text = f"is more than deadline_ms; write {verification.deadline_ms} or less"
        yield "verification", "timeout_ms", verification.timeout_ms, text
    most = round(settings.routing.decision_seconds * 1000) - MARGIN_MS
    if verification.scope != "none" and verification.deadline_ms > most:
        text = f"leaves less than {MARGIN_MS} ms of routing.decision_seconds; write {most} or less, or more there"
        yield "verification", "deadline_ms", verification.deadline_ms, text
    if verification.ca is not None:
        try:
            hook_context(verification)
        except (OSError, ValueError) as error:
            text = f"is no file of certificates ({error}); write the path of a PEM file"
            yield "verification", "ca", str(verification.ca), text
    if prompts.server is not None and not prompts.url:
        text = 'is empty, and the prompts of the media server have to lie somewhere; write "file:///prompts/"'
        yield "prompts", "url", "", text
