"""CPU per session description: ``python -m tests.bench.micro_sdp``."""

import sys
import time
from collections.abc import Callable

from b2bua.sip.sdp import Origin, clean, describe, rebuild, with_origin

BODIES = {
    "15 lines, one phone": (
        "v=0",
        "o=13800138000 2890844526 2890844526 IN IP4 10.20.30.40",
        "s=call from 13800138000",
        "c=IN IP4 10.20.30.40",
        "t=0 0",
        "m=audio 49172 RTP/AVP 8 0 18 101",
        "b=AS:80",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:18 G729/8000",
        "a=fmtp:18 annexb=no",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=sendrecv",
    ),
    "24 lines, a VoLTE offer": (
        "v=0",
        "o=rtp 1764 1 IN IP6 2409:8010:8810:1:1004::3",
        "s=-",
        "c=IN IP6 2409:8010:8810:1:1004::3",
        "b=AS:49",
        "b=RS:600",
        "b=RR:2000",
        "t=0 0",
        "m=audio 50010 RTP/AVP 104 102 105 100",
        "b=AS:49",
        "a=rtpmap:104 AMR-WB/16000/1",
        "a=fmtp:104 mode-change-capability=2;max-red=0",
        "a=rtpmap:102 AMR/8000/1",
        "a=fmtp:102 mode-set=0,2,4,7;mode-change-period=2;mode-change-capability=2;max-red=0",
        "a=rtpmap:105 telephone-event/16000",
        "a=fmtp:105 0-15",
        "a=rtpmap:100 telephone-event/8000",
        "a=fmtp:100 0-15",
        "a=ptime:20",
        "a=maxptime:240",
        "a=curr:qos local none",
        "a=des:qos mandatory local sendrecv",
        "a=des:qos optional remote sendrecv",
        "a=sendrecv",
    ),
}


def measure(run: Callable[[], object], seconds: float = 0.3) -> float:
    """Best CPU microseconds per call of ``run`` out of three rounds."""
    best = float("inf")
    for _ in range(3):
        count = 0
        started = time.process_time()
        while (spent := time.process_time() - started) < seconds / 3:
            for _ in range(200):
                run()
            count += 200
        best = min(best, spent / count)
    return best * 1e6


def main() -> None:
    origin = Origin(123456789, 1, "192.0.2.1")
    for name, lines in BODIES.items():
        body = "".join(f"{line}\r\n" for line in lines).encode()
        content = rebuild(body)
        for what, run in (
            ("clean", lambda body=body: clean(body, origin)),
            ("with_origin", lambda content=content: with_origin(content, origin)),
            ("describe", lambda body=body: describe(body)),
        ):
            sys.stdout.write(f"{name:26} {what:12} {measure(run):6.2f} µs\n")


if __name__ == "__main__":
    main()
