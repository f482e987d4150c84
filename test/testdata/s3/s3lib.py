"""What the scripts of S3 clients in Python share: the endpoints in turn, operations
with names, and data.

A script names its operations with @operation and ends with run(). Each runs whatever
became of the ones before it, and prints one line: passed, skipped or failed, its name,
and why. The environment has S3_ENDPOINTS (host:port, separated by commas: any of them
serves any request), S3_LACKS (what the server is known not to have, separated by commas),
and the access key as every client reads it."""

import base64
import hashlib
import itertools
import os
import random
import struct
import sys
import traceback
import urllib.error
import urllib.request
import zlib

ENDPOINTS = ["http://" + e for e in os.environ["S3_ENDPOINTS"].split(",")]
LACKS = set(filter(None, os.environ.get("S3_LACKS", "").split(",")))
MIB = 1 << 20

_operations = []
_turn = itertools.cycle(ENDPOINTS)


def endpoint():
    """The endpoint whose turn it is."""
    return next(_turn)


def operation(name, needs=()):
    """Registers a function as an operation. needs are words that say what a server must
    have, for S3_LACKS, or pairs of such a word and whether this client has it."""

    def register(f):
        _operations.append((name, [needs] if isinstance(needs, str) else list(needs), f))
        return f

    return register


def run():
    """Runs all operations and ends the process: with 0 if none failed."""
    failed = 0
    for name, needs, f in _operations:
        missing = [n for n in needs if isinstance(n, str) and n in LACKS]
        unable = [n for n, has in (n for n in needs if not isinstance(n, str)) if not has]
        if missing or unable:
            who = "server" if missing else "client"
            print(f"skipped {name}: the {who} has no {', '.join(missing or unable)}", flush=True)
            continue
        try:
            f()
        except (Exception, SystemExit) as e:
            failed += 1
            print(f"failed {name}: {where(e)}: {type(e).__name__}: {str(e)[:1500]}".replace("\n", "\n    "), flush=True)
        else:
            print(f"passed {name}", flush=True)
    sys.exit(1 if failed else 0)


def where(e):
    """The lines of the script that led to an error."""
    frames = traceback.extract_tb(e.__traceback__)
    return ", ".join(f"line {f.lineno}" for f in frames if f.filename == sys.argv[0])


def equal(have, want, what=""):
    if have != want:
        raise AssertionError(f"{what}: have {short(have)}, want {short(want)}")


def within(part, whole, what=""):
    if part not in whole:
        raise AssertionError(f"{what}: {short(part)} is not in {short(whole)}")


def short(v):
    text = repr(v)
    return text if len(text) <= 600 else f"{text[:300]} ... {text[-100:]} ({len(v)} long)"


def data(size, seed=1):
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def write(path, content):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "wb") as f:
        f.write(content)
    return path


def read(path):
    with open(path, "rb") as f:
        return f.read()


def md5(content):
    return hashlib.md5(content).hexdigest()


def etag_of_parts(*parts):
    """The ETag of a multipart upload of these parts."""
    whole = b"".join(hashlib.md5(p).digest() for p in parts)
    return f'"{md5(whole)}-{len(parts)}"'


def _table(polynomial):
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (polynomial if n & 1 else 0)
        table.append(n)
    return table


_CRC32C, _CRC64NVME = _table(0x82F63B78), _table(0x9A6C9329AC4BC9B5)


def _crc(table, ones, content):
    crc = ones
    for b in content:
        crc = crc >> 8 ^ table[crc & 0xFF ^ b]
    return crc ^ ones


def checksum(algorithm, content):
    """A checksum as it stands in a header x-amz-checksum-*."""
    raw = {
        "CRC32": lambda: struct.pack(">I", zlib.crc32(content)),
        "CRC32C": lambda: struct.pack(">I", _crc(_CRC32C, 0xFFFFFFFF, content)),
        "CRC64NVME": lambda: struct.pack(">Q", _crc(_CRC64NVME, 0xFFFFFFFFFFFFFFFF, content)),
        "SHA1": lambda: hashlib.sha1(content).digest(),
        "SHA256": lambda: hashlib.sha256(content).digest(),
    }[algorithm]()
    return base64.b64encode(raw).decode()


def http(method, url, body=None, headers=None):
    """One request without a signature: its status, headers and body."""
    request = urllib.request.Request(url, data=body, headers=headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as e:
        return e.code, e.headers, e.read()
