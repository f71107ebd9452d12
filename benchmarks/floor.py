"""
The floor: what hashing and sending take in C, and nothing else.

    python -m benchmarks.floor text-500 [IN_FLIGHT]

Speaks the protocol of `senders.py`. One signed request of ours, with twenty events, is caught
once; `wrk` then sends the same bytes repeatedly for a second, on as many connections as requests
are in flight. The floor is its CPU time for one request, plus that of the hashes that a signature
needs. wrk runs only C code: it has no callbacks here, and reads only the status and the length of
an answer.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.cases import BATCH, CASES
from benchmarks.senders import REGION

_SECONDS = 1
_HASHED = 500
_REQUESTS = re.compile(r"^ *(\d+) requests in", re.MULTILINE)
_FAILED = re.compile(r"^ *(?:Socket errors|Non-2xx).*", re.MULTILINE)


class _Caught:
    """A transport that keeps the newest request, and answers that all entries were accepted."""

    request: Any

    def send(self, request: Any, timeouts: Any) -> Any:
        from eventbridge_partner import HttpResponse

        self.request = request
        body = {"FailedEntryCount": 0, "Entries": [{"EventId": str(n)} for n in range(BATCH)]}
        return HttpResponse(200, {}, json.dumps(body).encode())

    def close(self) -> None:
        pass


def _one_request(case: str) -> Any:
    from eventbridge_partner import PartnerEvent, PartnerEventsClient

    caught = _Caught()
    with PartnerEventsClient(REGION, transport=caught) as client:
        events = [PartnerEvent(*value) for value in CASES[case].values(BATCH)]
        client.put_events(events).raise_for_undelivered()
    return caught.request


def _script(request: Any, directory: Path) -> Path:
    """Write the request to a script for wrk, which adds `Host` and `Content-Length`."""
    body, script = directory / "body.json", directory / "request.lua"
    body.write_bytes(request.body)
    lines = ['wrk.method = "POST"', f"wrk.body = io.open({json.dumps(str(body))}):read('*a')"]
    # Lua reads the escapes of a JSON string in the same way.
    lines += [
        f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}"
        for name, value in request.headers.items()
    ]
    script.write_text("\n".join(lines) + "\n")
    return script


def _send(url: str, script: Path, in_flight: int) -> tuple[float, float]:
    """Let wrk send for a while; return seconds of CPU time and of wall time for one request."""
    command = ["wrk", "-t1", f"-c{in_flight}", f"-d{_SECONDS}s", "-s", str(script), url]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as output:
        printed = output.read()
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    found, failed = _REQUESTS.search(printed), _FAILED.search(printed)
    if process.returncode or failed or not found:
        raise RuntimeError(f"wrk: {failed[0].strip() if failed else 'it sent nothing'}")
    requests = int(found[1])
    return (used.ru_utime + used.ru_stime) / requests, wall / requests


def _hash(request: Any) -> float:
    """
    Compute the hashes of signatures; return the seconds of CPU time that one request's take.

    The key is derived once a day. The hashes are OpenSSL's, called from Python: three calls a
    request.
    """
    headers = {name.lower(): value for name, value in request.headers.items()}
    headers.setdefault("host", request.url.split("/")[2])
    [signed] = re.findall(r"SignedHeaders=([^,]+)", headers["authorization"])
    lines = ["POST", "/", "", *(f"{name}:{headers[name]}" for name in signed.split(";")), ""]
    lines += [signed, hashlib.sha256(request.body).hexdigest()]
    canonical = "\n".join(lines).encode()
    scope = f"{headers['x-amz-date'][:8]}/{REGION}/events/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n{'0' * 64}".encode()
    key = bytes(32)
    body, sha256, digest = request.body, hashlib.sha256, hmac.digest
    started = time.process_time()
    for _ in range(_HASHED):
        sha256(body).hexdigest()
        sha256(canonical).hexdigest()
        digest(key, to_sign, "sha256")
    return (time.process_time() - started) / _HASHED


def main(case: str, in_flight: str = "1") -> None:
    request = _one_request(case)
    with tempfile.TemporaryDirectory() as name:
        script = _script(request, Path(name))
        for line in sys.stdin:
            requests = int(line) / BATCH
            hashing = _hash(request)
            cpu, wall = _send(request.url, script, int(in_flight))
            answer = {
                "cpu": (cpu + hashing) * requests,
                "wall": (wall + hashing) * requests,
                "accepted": int(line),
                "memory": None,
            }
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
