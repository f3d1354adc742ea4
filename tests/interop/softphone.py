"""A pjsua2 telephone as a program of its own: ``python -m tests.interop.softphone``, with its settings as one argument.

Commands come as JSON lines on standard input, events leave as JSON lines on standard output. Every message that it
sends or receives stands in its log, behind TLS too. It has no sound device: it plays a file to the other party and
records what it hears on command.
"""

import json
import os
import select
import sys
from dataclasses import dataclass
from typing import Any

import pjsua2 as pj

TRANSPORTS = {"udp": pj.PJSIP_TRANSPORT_UDP, "tcp": pj.PJSIP_TRANSPORT_TCP, "tls": pj.PJSIP_TRANSPORT_TLS}
DTMF = {"rfc4733": pj.PJSUA_DTMF_METHOD_RFC2833, "info": pj.PJSUA_DTMF_METHOD_SIP_INFO}
STATES = {
    pj.PJSIP_INV_STATE_INCOMING: "ringing",
    pj.PJSIP_INV_STATE_CONFIRMED: "up",
    pj.PJSIP_INV_STATE_DISCONNECTED: "down",
}
# Every message is written at this level.
LOG_LEVEL = 5
TURN_MS = 10
BUSY = 486


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings: where it lives and whom it asks; with TLS, by which certificates.

    Without a `contact` it is reached by the address and port that its own connection comes from.
    """

    number: str
    transport: str
    host: str
    port: int
    media_host: str
    proxy: str
    tone: str
    log: str
    ca_file: str = ""
    certificate: str = ""
    private_key: str = ""
    contact: str = ""


def tell(event: str, **values: object) -> None:
    """An event to whoever runs us."""
    sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
    sys.stdout.flush()


class Call(pj.Call):  # type: ignore[misc]
    """One call; tells what happens to it."""

    def __init__(self, phone: "Phone", identifier: int = pj.PJSUA_INVALID_ID) -> None:
        super().__init__(phone.account, identifier)
        self.phone = phone
        self.media: pj.AudioMedia | None = None

    def onCallState(self, _: pj.OnCallStateParam) -> None:  # noqa: N802
        info = self.getInfo()
        if info.state in STATES:
            tell("state", state=STATES[info.state])
        if info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self.media = self.phone.recorder = self.phone.call = None  # the last one closes the file

    def onCallMediaState(self, _: pj.OnCallMediaStateParam) -> None:  # noqa: N802
        info = self.getInfo()  # must outlive the list in it
        for index, media in enumerate(info.media):
            if media.type != pj.PJMEDIA_TYPE_AUDIO:
                continue
            flowing = media.status in (pj.PJSUA_CALL_MEDIA_ACTIVE, pj.PJSUA_CALL_MEDIA_REMOTE_HOLD)
            self.media = self.getAudioMedia(index) if flowing else None
            if self.media is not None:
                self.phone.player.startTransmit(self.media)
                if self.phone.recorder is not None:
                    self.media.startTransmit(self.phone.recorder)
            tell("media", sends=bool(media.dir & 1), hears=bool(media.dir & 2))

    def onDtmfDigit(self, digit: pj.OnDtmfDigitParam) -> None:  # noqa: N802
        method = "info" if digit.method == DTMF["info"] else "rfc4733"
        tell("digit", digit=digit.digit, method=method)


class Account(pj.Account):  # type: ignore[misc]
    """Where calls come in."""

    def __init__(self, phone: "Phone") -> None:
        super().__init__()
        self.phone = phone

    def onIncomingCall(self, incoming: pj.OnIncomingCallParam) -> None:  # noqa: N802
        call = Call(self.phone, incoming.callId)
        if self.phone.call is not None:
            self.phone.answer(call, BUSY)
            return
        self.phone.call = call
        self.phone.answer(call, 180)


class Phone:
    """The library, one account, at most one call. Everything happens on this thread."""

    def __init__(self, plan: Plan) -> None:
        self.call: Call | None = None
        self.recorder: pj.AudioMediaRecorder | None = None
        self.endpoint = pj.Endpoint()
        self.endpoint.libCreate()
        self.endpoint.libInit(_endpoint_settings(plan))
        self.endpoint.audDevManager().setNullDev()
        for codec in self.endpoint.codecEnum2():
            self.endpoint.codecSetPriority(codec.codecId, 200 if codec.codecId.startswith("PCMA") else 0)
        self.endpoint.transportCreate(TRANSPORTS[plan.transport], _transport_settings(plan))
        self.endpoint.libStart()
        self.account = Account(self)
        self.account.create(_account_settings(plan))
        self.player = pj.AudioMediaPlayer()
        self.player.createPlayer(plan.tone)

    def run(self) -> None:
        """Until standard input ends."""
        tell("ready", version=self.endpoint.libVersion().full)
        rest = b""
        while True:
            self.endpoint.libHandleEvents(TURN_MS)
            if select.select([0], [], [], 0)[0]:
                data = os.read(0, 65_536)
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self.obey(json.loads(line))

    def obey(self, command: dict[str, Any]) -> None:
        """One command; what it comes to is told as events."""
        match command:
            case {"do": "call", "uri": str(uri)}:
                self.call = Call(self)
                self.call.makeCall(uri, _call_settings())
            case {"do": "hangup"} if self.call is not None:
                ending = pj.CallOpParam()
                ending.statusCode = BUSY  # said only where no answer has been given
                self.call.hangup(ending)
            case {"do": "hold"} if self.call is not None:
                self.call.setHold(_call_settings())
            case {"do": "resume"} if self.call is not None:
                again = _call_settings()
                again.opt.flag |= pj.PJSUA_CALL_UNHOLD
                self.call.reinvite(again)
            case {"do": "digits", "digits": str(digits), "method": str(method)} if self.call is not None:
                dtmf = pj.CallSendDtmfParam()
                dtmf.digits, dtmf.method = digits, DTMF[method]
                self.call.sendDtmf(dtmf)
            case {"do": "record", "path": str(path)}:
                self.recorder = pj.AudioMediaRecorder()
                self.recorder.createRecorder(path)
                if self.call is not None and self.call.media is not None:
                    self.call.media.startTransmit(self.recorder)
            case {"do": "answer"} if self.call is not None:
                self.answer(self.call, 200)
            case _:
                tell("refused", command=command)

    def answer(self, call: Call, status: int) -> None:
        """A response to the INVITE."""
        response = _call_settings()
        response.statusCode = status
        call.answer(response)

    def close(self) -> None:
        """Leave the library in order."""
        self.recorder = None
        self.endpoint.hangupAllCalls()
        del self.player
        self.account.shutdown()
        self.endpoint.libDestroy()


def _endpoint_settings(plan: Plan) -> pj.EpConfig:
    settings = pj.EpConfig()
    settings.logConfig.level = LOG_LEVEL
    settings.logConfig.consoleLevel = 0
    settings.logConfig.filename = plan.log
    settings.logConfig.msgLogging = 1
    settings.uaConfig.threadCnt = 0
    settings.uaConfig.mainThreadOnly = True
    settings.uaConfig.userAgent = "softphone"
    settings.medConfig.clockRate = 8000
    settings.medConfig.sndClockRate = 8000
    settings.medConfig.noVad = True
    settings.medConfig.ecTailLen = 0
    settings.medConfig.sndAutoCloseTime = -1
    return settings


def _transport_settings(plan: Plan) -> pj.TransportConfig:
    settings = pj.TransportConfig()
    settings.boundAddress = plan.host
    settings.publicAddress = plan.host
    settings.port = plan.port
    if plan.transport == "tls":
        settings.tlsConfig.CaListFile = plan.ca_file
        settings.tlsConfig.certFile = plan.certificate
        settings.tlsConfig.privKeyFile = plan.private_key
        settings.tlsConfig.verifyServer = True
    return settings


def _account_settings(plan: Plan) -> pj.AccountConfig:
    settings = pj.AccountConfig()
    settings.idUri = f"sip:{plan.number}@{plan.host}"
    if plan.proxy:
        settings.sipConfig.proxies.append(plan.proxy)
    settings.sipConfig.contactForced = plan.contact
    settings.mediaConfig.transportConfig.boundAddress = plan.media_host
    settings.mediaConfig.transportConfig.publicAddress = plan.media_host
    settings.mediaConfig.transportConfig.port = 20_000
    settings.mediaConfig.srtpUse = pj.PJMEDIA_SRTP_DISABLED
    settings.mediaConfig.srtpSecureSignaling = 0
    return settings


def _call_settings() -> pj.CallOpParam:
    settings = pj.CallOpParam(True)
    settings.opt.audioCount = 1
    settings.opt.videoCount = 0
    return settings


def main() -> int:
    """Be a phone until standard input ends."""
    phone = Phone(Plan(**json.loads(sys.argv[1])))
    try:
        phone.run()
    finally:
        phone.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
