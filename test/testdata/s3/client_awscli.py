"""awscli as a person uses it. Its commands are run within this one process, by its own
main function: nearly all of a command's time is the start of the program otherwise.

Usage: client_awscli.py PREFIX: every bucket's name begins with it. The working directory must
be empty."""

import contextlib
import io
import json
import os
import shlex
import subprocess
import sys

from awscli import clidriver

import s3lib
from s3lib import MIB, data, equal, etag_of_parts, operation, read, within, write

PREFIX = sys.argv[1]
BUCKET, OTHER, VERSIONED, LOCKED = (f"{PREFIX}-{n}" for n in ("plain", "other", "versioned", "locked"))
BIG = data(20 * MIB + 12345)
PART = 5 * MIB


class Refused(Exception):
    """A command that ended with another code than 0."""


try:
    from botocore import xform_name
except ImportError:  # version 2 has a botocore of its own
    from awscli.botocore import xform_name

# By itself version 1 signs links with version 2 of the signature where the region is us-east-1.
write(".aws/config", b"[default]\ns3 =\n    signature_version = s3v4\n")
DRIVER = clidriver.create_clidriver()


def run(command, *more, stdin=b"", driver=None):
    """Runs a command of awscli against the endpoint whose turn it is, and returns what it
    wrote. command is split as a shell does it; more are arguments as they are."""
    if driver is None:
        # What get-object does with a body stays with its driver.
        driver = clidriver.create_clidriver() if command.startswith("s3api get-object ") else DRIVER
    args = shlex.split(command) + list(more) + ["--endpoint-url", s3lib.endpoint()]
    out, err = (io.TextIOWrapper(io.BytesIO(), write_through=True) for _ in range(2))
    kept, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(stdin))
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = driver.main(args)
            except SystemExit as e:
                code = e.code
    finally:
        sys.stdin = kept
    if code:
        said = (err.buffer.getvalue() + out.buffer.getvalue()).decode()
        raise Refused(f"aws {' '.join(args)}: exit code {code}: {said.strip()}")
    return out.buffer.getvalue()


def s3(command, *more, **options):
    return run("s3 " + command, *more, **options).decode()


def api(command, *more):
    """A command of s3api and its answer, parsed: {} where it says nothing."""
    out = run("s3api " + command, "--output", "json", *more)
    return json.loads(out) if out.strip() else {}


def refused(code, command, *more):
    """Runs a command of s3api that the server must refuse with this code."""
    try:
        api(command, *more)
    except Refused as e:
        within(f"({code})", str(e), command)
        return
    raise AssertionError(f"{command} was not refused with {code}")


def get(bucket, key, *more):
    """Gets an object's bytes with its answer."""
    answer = api(f"get-object --bucket {bucket} --key", key, *more, "got")
    return read("got"), answer


def put(bucket, key, content, *more):
    return api(f"put-object --bucket {bucket} --key", key, "--body", write("body", content), *more)


def knows(operation_name, member):
    """Whether this awscli has a parameter."""
    shape = MODEL.operation_model(operation_name).input_shape
    return f"{operation_name} with {member}", member in shape.members


MODEL = DRIVER.session.get_service_model("s3")


@operation("the program itself: mb")
def _():
    """The first command is by a process of its own, as all of a person's are."""
    done = subprocess.run(
        [sys.executable, "-m", "awscli", "s3", "mb", f"s3://{BUCKET}", "--endpoint-url", s3lib.endpoint()],
        capture_output=True,
        text=True,
    )
    equal((done.returncode, done.stdout.strip()), (0, f"make_bucket: {BUCKET}"), done.stderr)


@operation("mb, ls of buckets, rb")
def _():
    s3(f"mb s3://{OTHER}")
    s3(f"mb s3://{PREFIX}-gone")
    within(OTHER, s3("ls"))
    s3(f"rb s3://{PREFIX}-gone")
    equal(f"{PREFIX}-gone" in s3("ls"), False, "a bucket that was removed is listed")


@operation("cp up and down, small")
def _():
    for name, content in {"empty": b"", "small": data(1000), "inline edge": data(64 << 10), "over": data((64 << 10) + 1)}.items():
        s3("cp", write("up/" + name, content), f"s3://{BUCKET}/cp/{name}")
        s3("cp", f"s3://{BUCKET}/cp/{name}", "down/" + name)
        equal(read("down/" + name), content, name)


@operation("cp up and down, 20 MiB in parts")
def _():
    s3("cp", write("big", BIG), f"s3://{BUCKET}/big")
    s3("cp", f"s3://{BUCKET}/big", "big.down")
    equal(read("big.down") == BIG, True, "the bytes are the same")
    parts = [BIG[i : i + 8 * MIB] for i in range(0, len(BIG), 8 * MIB)]
    equal(api(f"head-object --bucket {BUCKET} --key big")["ETag"], etag_of_parts(*parts))


@operation("cp from and to a pipe")
def _():
    content = data(9 * MIB, 3)
    s3(f"cp - s3://{BUCKET}/piped", stdin=content)
    equal(run(f"s3 cp s3://{BUCKET}/piped -") == content, True, "the bytes are the same")


@operation("cp between buckets, small and in parts")
def _():
    s3(f"cp s3://{BUCKET}/cp/small s3://{OTHER}/small")
    equal(get(OTHER, "small")[0], data(1000))
    s3(f"cp s3://{BUCKET}/big s3://{OTHER}/big")
    equal(get(OTHER, "big")[0] == BIG, True, "the bytes are the same")


@operation("cp and ls, recursive, with names that need encoding")
def _():
    names = ["a", "d/b", "d/e/c", "sp ace+plus", "ü/ñ.txt", "per%20cent", "quote's", "a=b&c;d:e@f,g"]
    for i, n in enumerate(names):
        write("tree/" + n, data(100 + i, i))
    s3(f"cp --recursive tree s3://{BUCKET}/tree/")
    lines = s3(f"ls --recursive s3://{BUCKET}/tree/").splitlines()
    equal(sorted(x[31:] for x in lines), sorted("tree/" + n for n in names))
    within("PRE d/", s3(f"ls s3://{BUCKET}/tree/"))
    s3(f"cp --recursive s3://{BUCKET}/tree/ tree.down")
    for i, n in enumerate(names):
        equal(read("tree.down/" + n), data(100 + i, i), n)


@operation("sync both ways, with --delete")
def _():
    for i in range(20):
        write(f"sync/{i % 3}/{i}", data(500 + i, i))
    s3(f"sync sync s3://{BUCKET}/sync/")
    equal(s3(f"sync sync s3://{BUCKET}/sync/"), "", "a second sync does nothing")
    s3(f"sync s3://{BUCKET}/sync/ sync.down")
    equal(read("sync.down/2/17"), data(517, 17))
    os.remove("sync/1/1")
    within("delete:", s3(f"sync --delete sync s3://{BUCKET}/sync/"))
    equal(len(s3(f"ls --recursive s3://{BUCKET}/sync/").splitlines()), 19)


@operation("mv up, within and down, rm --recursive")
def _():
    s3("mv", write("moving", data(777)), f"s3://{BUCKET}/mv/1")
    s3(f"mv s3://{BUCKET}/mv/1 s3://{BUCKET}/mv/2")
    s3(f"mv s3://{BUCKET}/mv/2 moved")
    equal(read("moved"), data(777))
    equal(api(f"list-objects-v2 --bucket {BUCKET} --prefix mv/").get("Contents"), None)
    s3(f"rm --recursive s3://{BUCKET}/sync/")
    equal(api(f"list-objects-v2 --bucket {BUCKET} --prefix sync/").get("Contents"), None)


@operation("presign, fetched without a key")
def _():
    put(BUCKET, "signed/a b+c", b"signed")
    url = s3("presign --expires-in 60", f"s3://{BUCKET}/signed/a b+c").strip()
    equal(s3lib.http("GET", url)[::2], (200, b"signed"))
    status, _, body = s3lib.http("GET", url[:-1] + ("0" if url[-1] != "0" else "1"))
    equal(status, 403, body)
    within(b"<Code>SignatureDoesNotMatch</Code>", body)


@operation("create-, head-, list-buckets, get-bucket-location, delete-bucket")
def _():
    name = f"{PREFIX}-api"
    api(f"create-bucket --bucket {name}")
    api(f"head-bucket --bucket {name}")
    within(name, [b["Name"] for b in api("list-buckets")["Buckets"]])
    equal(api(f"get-bucket-location --bucket {name}").get("LocationConstraint"), None)
    put(name, "k", b"v")
    refused("BucketNotEmpty", f"delete-bucket --bucket {name}")
    api(f"delete-object --bucket {name} --key k")
    api(f"delete-bucket --bucket {name}")
    refused("404", f"head-bucket --bucket {name}")
    refused("NoSuchBucket", f"list-objects-v2 --bucket {name}")


@operation("put-, head-, get-object with metadata and content headers")
def _():
    put(BUCKET, "meta", b"body", "--metadata", "colour=blue,size=9", "--content-type", "text/x-test",
        "--cache-control", "no-cache", "--content-disposition", "inline", "--content-language", "en",
        "--content-encoding", "identity", "--expires", "2037-01-02T03:04:05Z")  # fmt: skip
    head = api(f"head-object --bucket {BUCKET} --key meta")
    equal(head["Metadata"], {"colour": "blue", "size": "9"})
    want = {"ContentType": "text/x-test", "CacheControl": "no-cache", "ContentDisposition": "inline",
            "ContentLanguage": "en", "ContentEncoding": "identity", "ContentLength": 4}  # fmt: skip
    equal({k: head.get(k) for k in want}, want)
    equal(head["ETag"], f'"{s3lib.md5(b"body")}"')
    _, answer = get(BUCKET, "meta", "--response-content-type", "text/plain")
    equal(answer["ContentType"], "text/plain")


@operation("get-object with ranges")
def _():
    for wanted, start, end in [("0-0", 0, 1), ("100-199", 100, 200), (f"{8 * MIB - 3}-{8 * MIB + 3}", 8 * MIB - 3, 8 * MIB + 4),
                               ("-5", len(BIG) - 5, len(BIG)), (f"{len(BIG) - 2}-", len(BIG) - 2, len(BIG))]:  # fmt: skip
        content, answer = get(BUCKET, "big", "--range", f"bytes={wanted}")
        equal(content, BIG[start:end], wanted)
        equal(answer["ContentRange"], f"bytes {start}-{end - 1}/{len(BIG)}")
    refused("InvalidRange", f"get-object --bucket {BUCKET} --key big --range bytes={len(BIG)}- got")


@operation("get-object under conditions")
def _():
    tag = put(BUCKET, "cond", b"one")["ETag"]
    equal(get(BUCKET, "cond", "--if-match", tag)[0], b"one")
    refused("PreconditionFailed", f"get-object --bucket {BUCKET} --key cond got --if-match", '"other"')
    refused("304", f"get-object --bucket {BUCKET} --key cond got --if-none-match", tag)
    refused("304", f"get-object --bucket {BUCKET} --key cond got --if-modified-since 2037-01-01T00:00:00Z")
    refused("PreconditionFailed", f"get-object --bucket {BUCKET} --key cond got --if-unmodified-since 2001-01-01T00:00:00Z")
    refused("NoSuchKey", f"get-object --bucket {BUCKET} --key none got")
    refused("404", f"head-object --bucket {BUCKET} --key none")


@operation("list-objects and list-objects-v2")
def _():
    keys = [f"list/{d}/{i}" for d in "abc" for i in range(3)] + ["list/z", "list/ü +%"]
    for k in keys:
        put(BUCKET, k, b"")
    at = f"--bucket {BUCKET} --prefix list/"
    ordered = sorted(keys, key=str.encode)
    for version in ("list-objects", "list-objects-v2"):
        equal([c["Key"] for c in api(f"{version} {at}")["Contents"]], ordered, version)
        equal([c["Key"] for c in api(f"{version} {at} --page-size 2")["Contents"]], ordered, version + " in pages")
        page = api(f"{version} {at} --delimiter /")
        equal([c["Prefix"] for c in page["CommonPrefixes"]], ["list/a/", "list/b/", "list/c/"], version)
        equal([c["Key"] for c in page["Contents"]], ["list/z", "list/ü +%"], version)
        equal([c["Prefix"] for c in api(f"{version} {at} --delimiter / --page-size 1")["CommonPrefixes"]],
              ["list/a/", "list/b/", "list/c/"], version + " in pages")  # fmt: skip
        encoded = api(f"{version} {at} --encoding-type url --no-paginate")["Contents"][-1]["Key"]
        # S3 writes + for a space here; clients read both.
        within(encoded, ("list/%C3%BC+%2B%25", "list/%C3%BC%20%2B%25"), version)
    equal([c["Key"] for c in api(f"list-objects-v2 {at} --start-after list/c/1")["Contents"]], ["list/c/2", "list/z", "list/ü +%"])
    equal([c["Key"] for c in api(f"list-objects {at} --marker list/c/1")["Contents"]], ["list/c/2", "list/z", "list/ü +%"])
    owner = api(f"list-objects-v2 {at} --fetch-owner")["Contents"][0]
    within("Owner", owner)


@operation("delete-objects")
def _():
    for i in range(5):
        put(BUCKET, f"multi/{i}", b"x")
    batch = {"Objects": [{"Key": f"multi/{i}"} for i in range(4)] + [{"Key": "multi/never"}]}
    answer = api(f"delete-objects --bucket {BUCKET} --delete", json.dumps(batch))
    equal(sorted(d["Key"] for d in answer["Deleted"]), ["multi/0", "multi/1", "multi/2", "multi/3", "multi/never"])
    equal(api(f"delete-objects --bucket {BUCKET} --delete", json.dumps({"Objects": [{"Key": "multi/4"}], "Quiet": True})), {})
    equal(api(f"list-objects-v2 --bucket {BUCKET} --prefix multi/").get("Contents"), None)


@operation("copy-object, with new metadata and conditions on the source")
def _():
    tag = put(BUCKET, "from a+b", b"copied", "--metadata", "a=1")["ETag"]
    source = f"{BUCKET}/from a+b"  # awscli encodes it
    answer = api(f"copy-object --bucket {OTHER} --key to --copy-source", source)
    equal(answer["CopyObjectResult"]["ETag"], tag)
    equal(api(f"head-object --bucket {OTHER} --key to")["Metadata"], {"a": "1"})
    api(f"copy-object --bucket {OTHER} --key to --metadata-directive REPLACE --metadata b=2 --copy-source", source)
    equal(api(f"head-object --bucket {OTHER} --key to")["Metadata"], {"b": "2"})
    refused("PreconditionFailed", f"copy-object --bucket {OTHER} --key to --copy-source-if-match x --copy-source", source)
    refused("PreconditionFailed", f"copy-object --bucket {OTHER} --key to --copy-source-if-none-match {tag} --copy-source", source)
    refused("InvalidRequest", f"copy-object --bucket {BUCKET} --key", "from a+b", "--copy-source", source)
    refused("NoSuchKey", f"copy-object --bucket {OTHER} --key to --copy-source {BUCKET}/none")


@operation("versioning: put-bucket-versioning, versions, delete markers, suspension")
def _():
    s3(f"mb s3://{VERSIONED}")
    equal(api(f"get-bucket-versioning --bucket {VERSIONED}").get("Status"), None)
    put(VERSIONED, "k", b"before")
    api(f"put-bucket-versioning --bucket {VERSIONED} --versioning-configuration Status=Enabled")
    equal(api(f"get-bucket-versioning --bucket {VERSIONED}")["Status"], "Enabled")
    first, second = (put(VERSIONED, "k", c)["VersionId"] for c in (b"one", b"two"))
    marker = api(f"delete-object --bucket {VERSIONED} --key k")
    equal(marker["DeleteMarker"], True)
    refused("NoSuchKey", f"get-object --bucket {VERSIONED} --key k got")
    refused("405", f"head-object --bucket {VERSIONED} --key k --version-id {marker['VersionId']}")
    for version, content in ((first, b"one"), (second, b"two"), ("null", b"before")):
        equal(get(VERSIONED, "k", "--version-id", version)[0], content)
    listed = api(f"list-object-versions --bucket {VERSIONED}")
    equal([v["VersionId"] for v in listed["Versions"]], [second, first, "null"])
    equal([(v["VersionId"], v["IsLatest"]) for v in listed["DeleteMarkers"]], [(marker["VersionId"], True)])
    equal(len(api(f"list-object-versions --bucket {VERSIONED} --page-size 1")["Versions"]), 3, "in pages")
    api(f"delete-object --bucket {VERSIONED} --key k --version-id {marker['VersionId']}")
    equal(get(VERSIONED, "k")[0], b"two", "the marker is gone")
    api(f"copy-object --bucket {VERSIONED} --key k --copy-source {VERSIONED}/k?versionId={first}")
    equal(get(VERSIONED, "k")[0], b"one", "an old version was copied")
    api(f"put-bucket-versioning --bucket {VERSIONED} --versioning-configuration Status=Suspended")
    put(VERSIONED, "k", b"suspended")
    equal(get(VERSIONED, "k", "--version-id", "null")[0], b"suspended")


@operation("delete-objects of versions")
def _():
    listed = api(f"list-object-versions --bucket {VERSIONED}")
    every = [{"Key": v["Key"], "VersionId": v["VersionId"]} for v in listed.get("Versions", []) + listed.get("DeleteMarkers", [])]
    api(f"delete-objects --bucket {VERSIONED} --delete", json.dumps({"Objects": every}))
    equal(api(f"list-object-versions --bucket {VERSIONED}").get("Versions"), None)
    api(f"delete-bucket --bucket {VERSIONED}")


@operation("tagging of objects and buckets")
def _():
    put(BUCKET, "tagged", b"", "--tagging", "a=1&b=2%203")
    tags = lambda answer: {t["Key"]: t["Value"] for t in answer["TagSet"]}
    equal(tags(api(f"get-object-tagging --bucket {BUCKET} --key tagged")), {"a": "1", "b": "2 3"})
    equal(api(f"get-object --bucket {BUCKET} --key tagged got")["TagCount"], 2)
    api(f"put-object-tagging --bucket {BUCKET} --key tagged --tagging TagSet=[{{Key=c,Value=4}}]")
    equal(tags(api(f"get-object-tagging --bucket {BUCKET} --key tagged")), {"c": "4"})
    api(f"delete-object-tagging --bucket {BUCKET} --key tagged")
    equal(tags(api(f"get-object-tagging --bucket {BUCKET} --key tagged")), {})
    refused("NoSuchTagSet", f"get-bucket-tagging --bucket {BUCKET}")
    api(f"put-bucket-tagging --bucket {BUCKET} --tagging TagSet=[{{Key=team,Value=x}}]")
    equal(tags(api(f"get-bucket-tagging --bucket {BUCKET}")), {"team": "x"})
    api(f"delete-bucket-tagging --bucket {BUCKET}")


@operation("bucket policy that lets anyone read")
def _():
    refused("NoSuchBucketPolicy", f"get-bucket-policy --bucket {OTHER}")
    put(OTHER, "public/x", b"for all")
    where = f"{s3lib.endpoint()}/{OTHER}/public/x"
    equal(s3lib.http("GET", where)[0], 403)
    policy = {"Version": "2012-10-17", "Statement": [{"Sid": "all", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
              "Resource": f"arn:aws:s3:::{OTHER}/public/*"}]}  # fmt: skip
    api(f"put-bucket-policy --bucket {OTHER} --policy", json.dumps(policy))
    equal(json.loads(api(f"get-bucket-policy --bucket {OTHER}")["Policy"])["Statement"][0]["Effect"], "Allow")
    equal(s3lib.http("GET", where)[::2], (200, b"for all"))
    equal(s3lib.http("GET", f"{s3lib.endpoint()}/{OTHER}/small")[0], 403)
    equal(s3lib.http("PUT", where, b"no")[0], 403)
    api(f"delete-bucket-policy --bucket {OTHER}")
    equal(s3lib.http("GET", where)[0], 403)
    refused("MalformedPolicy", f"put-bucket-policy --bucket {OTHER} --policy", '{"Version":"2012-10-17","Statement":[{}]}')


@operation("cors, and what a browser asks", needs="cors")
def _():
    refused("NoSuchCORSConfiguration", f"get-bucket-cors --bucket {BUCKET}")
    rules = {"CORSRules": [{"AllowedOrigins": ["https://app.example"], "AllowedMethods": ["GET", "PUT"], "AllowedHeaders": ["*"],
             "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 60}]}  # fmt: skip
    api(f"put-bucket-cors --bucket {BUCKET} --cors-configuration", json.dumps(rules))
    equal(api(f"get-bucket-cors --bucket {BUCKET}"), rules)
    ask = {"Origin": "https://app.example", "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-amz-meta-a"}
    status, headers, _ = s3lib.http("OPTIONS", f"{s3lib.endpoint()}/{BUCKET}/k", headers=ask)
    equal((status, headers["Access-Control-Allow-Origin"], headers["Access-Control-Max-Age"]), (200, "https://app.example", "60"))
    ask["Origin"] = "https://other.example"
    equal(s3lib.http("OPTIONS", f"{s3lib.endpoint()}/{BUCKET}/k", headers=ask)[0], 403)
    put(BUCKET, "cors", b"x")
    url = s3(f"presign s3://{BUCKET}/cors").strip()
    _, headers, _ = s3lib.http("GET", url, headers={"Origin": "https://app.example"})
    equal((headers["Access-Control-Allow-Origin"], headers["Access-Control-Expose-Headers"]), ("https://app.example", "ETag"))
    api(f"delete-bucket-cors --bucket {BUCKET}")


@operation("lifecycle configuration")
def _():
    refused("NoSuchLifecycleConfiguration", f"get-bucket-lifecycle-configuration --bucket {BUCKET}")
    rules = {"Rules": [{"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 3}},
                       {"ID": "parts", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 900},
                        "NoncurrentVersionExpiration": {"NoncurrentDays": 5}}]}  # fmt: skip
    at = f"put-bucket-lifecycle-configuration --bucket {BUCKET} --lifecycle-configuration"
    api(at, json.dumps(rules))
    got = api(f"get-bucket-lifecycle-configuration --bucket {BUCKET}")["Rules"]
    equal([r["ID"] for r in got], ["old", "parts"])
    equal(got[0]["Expiration"], {"Days": 3})
    put(BUCKET, "tmp/x", b"")
    within("expiry-date", api(f"head-object --bucket {BUCKET} --key tmp/x")["Expiration"])
    api(f"delete-bucket-lifecycle --bucket {BUCKET}")


@operation("lifecycle: abort of incomplete uploads", needs="lifecycle-abort")
def _():
    rules = {"Rules": [{"ID": "parts", "Status": "Enabled", "Filter": {"Prefix": ""}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}}]}
    api(f"put-bucket-lifecycle-configuration --bucket {BUCKET} --lifecycle-configuration", json.dumps(rules))
    got = api(f"get-bucket-lifecycle-configuration --bucket {BUCKET}")["Rules"]
    equal(got[0]["AbortIncompleteMultipartUpload"], {"DaysAfterInitiation": 2})
    api(f"delete-bucket-lifecycle --bucket {BUCKET}")


def begin(bucket, key, *more):
    return api(f"create-multipart-upload --bucket {bucket} --key {key}", *more)["UploadId"]


def upload(bucket, key, uid, number, content):
    at = f"upload-part --bucket {bucket} --key {key} --upload-id {uid} --part-number {number} --body"
    return {"PartNumber": number, "ETag": api(at, write("part", content))["ETag"]}


def complete(bucket, key, uid, parts, *more):
    return api(f"complete-multipart-upload --bucket {bucket} --key {key} --upload-id {uid} --multipart-upload",
               json.dumps({"Parts": parts}), *more)  # fmt: skip


@operation("multipart upload by hand, with a part that is copied")
def _():
    uid = begin(BUCKET, "parts", "--metadata", "m=1", "--content-type", "text/x-parts")
    at = f"--bucket {BUCKET} --key parts --upload-id {uid}"
    within(uid, [u["UploadId"] for u in api(f"list-multipart-uploads --bucket {BUCKET}")["Uploads"]])
    one, last = BIG[:PART], b"the last one"
    upload(BUCKET, "parts", uid, 1, b"to be replaced")
    sent = [upload(BUCKET, "parts", uid, 1, one)]
    copied = api(f"upload-part-copy {at} --part-number 2 --copy-source {BUCKET}/big --copy-source-range bytes={PART}-{2 * PART - 1}")
    sent.append({"PartNumber": 2, "ETag": copied["CopyPartResult"]["ETag"]})
    sent.append(upload(BUCKET, "parts", uid, 7, last))
    equal([(p["PartNumber"], p["Size"]) for p in api(f"list-parts {at} --page-size 1")["Parts"]], [(1, PART), (2, PART), (7, len(last))])
    refused("NoSuchKey", f"get-object --bucket {BUCKET} --key parts got")
    equal(complete(BUCKET, "parts", uid, sent)["ETag"], etag_of_parts(one, BIG[PART : 2 * PART], last))
    content, answer = get(BUCKET, "parts")
    equal(content == BIG[: 2 * PART] + last, True, "the bytes are the parts'")
    equal((answer["Metadata"], answer["ContentType"]), ({"m": "1"}, "text/x-parts"))
    content, answer = get(BUCKET, "parts", "--part-number", "2")
    equal((content == BIG[PART : 2 * PART], answer["PartsCount"]), (True, 3))
    refused("NoSuchUpload", f"list-parts {at}")


@operation("multipart uploads that must not be: aborted, wrong, small or unordered parts")
def _():
    uid = begin(BUCKET, "never")
    part = upload(BUCKET, "never", uid, 1, b"small")
    second = upload(BUCKET, "never", uid, 2, b"small too")
    at = f"complete-multipart-upload --bucket {BUCKET} --key never --upload-id {uid} --multipart-upload"
    refused("EntityTooSmall", at, json.dumps({"Parts": [part, second]}))
    refused("InvalidPartOrder", at, json.dumps({"Parts": [second, part]}))
    refused("InvalidPart", at, json.dumps({"Parts": [dict(part, ETag=second["ETag"])]}))
    refused("InvalidPart", at, json.dumps({"Parts": [dict(part, PartNumber=9)]}))
    api(f"abort-multipart-upload --bucket {BUCKET} --key never --upload-id {uid}")
    refused("NoSuchUpload", f"list-parts --bucket {BUCKET} --key never --upload-id {uid}")
    refused("404", f"head-object --bucket {BUCKET} --key never")


@operation("conditional put-object", needs=[knows("PutObject", "IfNoneMatch"), knows("PutObject", "IfMatch")])
def _():
    at = f"put-object --bucket {BUCKET} --key once --body body"
    tag = put(BUCKET, "once", b"first", "--if-none-match", "*")["ETag"]
    refused("PreconditionFailed", at + " --if-none-match", "*")
    refused("PreconditionFailed", at + " --if-match", '"other"')
    put(BUCKET, "once", b"second", "--if-match", tag)
    refused("PreconditionFailed", at + " --if-match", tag)
    equal(get(BUCKET, "once")[0], b"second")
    refused("NoSuchKey", f"put-object --bucket {BUCKET} --key nobody --body body --if-match", tag)


@operation("conditional complete-multipart-upload", needs=[knows("CompleteMultipartUpload", "IfNoneMatch")])
def _():
    put(BUCKET, "taken", b"x")
    uid = begin(BUCKET, "taken")
    part = upload(BUCKET, "taken", uid, 1, b"y")
    refused("PreconditionFailed", f"complete-multipart-upload --bucket {BUCKET} --key taken --upload-id {uid} --if-none-match",
            "*", "--multipart-upload", json.dumps({"Parts": [part]}))  # fmt: skip
    equal(get(BUCKET, "taken")[0], b"x")
    api(f"delete-object --bucket {BUCKET} --key taken")
    complete(BUCKET, "taken", uid, [part], "--if-none-match", "*")
    equal(get(BUCKET, "taken")[0], b"y")


@operation("conditional delete-object", needs=["delete-if-match", knows("DeleteObject", "IfMatch")])
def _():
    tag = put(BUCKET, "guarded", b"x")["ETag"]
    refused("PreconditionFailed", f"delete-object --bucket {BUCKET} --key guarded --if-match", '"other"')
    api(f"delete-object --bucket {BUCKET} --key guarded --if-match", tag)
    refused("404", f"head-object --bucket {BUCKET} --key guarded")


@operation("conditional copy-object", needs=["copy-if-none-match", knows("CopyObject", "IfNoneMatch")])
def _():
    put(BUCKET, "source", b"new")
    put(BUCKET, "target", b"old")
    refused("PreconditionFailed", f"copy-object --bucket {BUCKET} --key target --copy-source {BUCKET}/source --if-none-match", "*")
    equal(get(BUCKET, "target")[0], b"old")


@operation("checksums of every algorithm, computed by the client", needs=[knows("PutObject", "ChecksumAlgorithm")])
def _():
    content = data(3000, 9)
    for a in ("CRC32", "CRC32C", "SHA1", "SHA256"):
        if a == "CRC32C" and not have_crt():
            continue
        want = s3lib.checksum(a, content)
        equal(put(BUCKET, "sum/" + a, content, "--checksum-algorithm", a)["Checksum" + a], want)
        equal(get(BUCKET, "sum/" + a, "--checksum-mode", "ENABLED")[1]["Checksum" + a], want)


def have_crt():
    try:
        import awscrt.checksums  # noqa: F401
    except ImportError:
        return False
    return True


@operation("checksums of every algorithm, given", needs=[knows("PutObject", "ChecksumAlgorithm")])
def _():
    content, other = data(70_000, 9), data(70_000, 10)
    for a in ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"):
        if not knows("PutObject", "Checksum" + a)[1]:
            continue
        flag = "--" + xform_name("Checksum" + a, "-")
        want = s3lib.checksum(a, content)
        equal(put(BUCKET, "given/" + a, content, flag, want)["Checksum" + a], want)
        head = api(f"head-object --bucket {BUCKET} --key given/{a} --checksum-mode ENABLED")
        equal(head["Checksum" + a], want)
        refused_put(a, flag, s3lib.checksum(a, other), content)


def refused_put(name, flag, wrong, content):
    """S3 has two codes for bytes that do not fit their checksum, by how it was sent."""
    try:
        put(BUCKET, "given/wrong", content, flag, wrong)
    except Refused as e:
        if not any(f"({c})" in str(e) for c in ("BadDigest", "XAmzContentChecksumMismatch", "InvalidRequest")):
            raise
        return
    raise AssertionError(f"a wrong {name} was taken")


@operation("multipart checksums, composite and whole", needs=["checksum-type", knows("CreateMultipartUpload", "ChecksumType")])
def _():
    one, two = data(PART, 21), b"end"
    for kind, algorithm in (("COMPOSITE", "SHA256"), ("FULL_OBJECT", "CRC32")):
        uid = begin(BUCKET, "sums", "--checksum-algorithm", algorithm, "--checksum-type", kind)
        parts = []
        for n, content in ((1, one), (2, two)):
            at = f"upload-part --bucket {BUCKET} --key sums --upload-id {uid} --part-number {n} --checksum-algorithm {algorithm} --body"
            answer = api(at, write("part", content))
            equal(answer["Checksum" + algorithm], s3lib.checksum(algorithm, content))
            parts.append({"PartNumber": n, "ETag": answer["ETag"], "Checksum" + algorithm: answer["Checksum" + algorithm]})
        answer = complete(BUCKET, "sums", uid, parts)
        if kind == "FULL_OBJECT":
            equal(answer["Checksum" + algorithm], s3lib.checksum(algorithm, one + two))
        else:
            equal(answer["Checksum" + algorithm][-2:], "-2")
        equal(answer["ChecksumType"], kind)


@operation("get-object-attributes", needs=[knows("GetObjectAttributes", "ObjectAttributes")])
def _():
    wanted = ["--object-attributes", "ETag", "ObjectSize", "StorageClass", "ObjectParts", "Checksum"]
    answer = api(f"get-object-attributes --bucket {BUCKET} --key parts", *wanted)
    equal(answer["ObjectSize"], 2 * PART + len(b"the last one"))
    equal(answer["ObjectParts"]["TotalPartsCount"], 3)
    within("-3", answer["ETag"])


@operation("object lock: retention, legal hold, governance and its bypass", needs="lock-codes")
def _():
    api(f"create-bucket --bucket {LOCKED} --object-lock-enabled-for-bucket")
    equal(api(f"get-bucket-versioning --bucket {LOCKED}")["Status"], "Enabled")
    version = put(LOCKED, "free", b"x")["VersionId"]
    at = f"--bucket {LOCKED} --key free --version-id {version}"
    api(f"put-object-legal-hold {at} --legal-hold Status=ON")
    equal(api(f"get-object-legal-hold {at}")["LegalHold"]["Status"], "ON")
    refused("AccessDenied", f"delete-object {at}")
    api(f"put-object-legal-hold {at} --legal-hold Status=OFF")
    api(f"delete-object {at}")
    rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}}
    api(f"put-object-lock-configuration --bucket {LOCKED} --object-lock-configuration", json.dumps(rule))
    equal(api(f"get-object-lock-configuration --bucket {LOCKED}")["ObjectLockConfiguration"], rule)
    version = put(LOCKED, "kept", b"y")["VersionId"]
    at = f"--bucket {LOCKED} --key kept --version-id {version}"
    equal(api(f"get-object-retention {at}")["Retention"]["Mode"], "GOVERNANCE")
    refused("AccessDenied", f"delete-object {at}")
    api(f"delete-object --bucket {LOCKED} --key kept")  # a marker is always possible
    equal(get(LOCKED, "kept", "--version-id", version)[0], b"y")
    api(f"delete-object {at} --bypass-governance-retention")
    refused("NoSuchVersion", f"get-object {at} got")
    version = put(LOCKED, "comply", b"z", "--object-lock-mode", "COMPLIANCE", "--object-lock-retain-until-date", "2099-01-01T00:00:00Z")["VersionId"]
    at = f"--bucket {LOCKED} --key comply --version-id {version}"
    refused("AccessDenied", f"delete-object {at} --bypass-governance-retention")
    refused("AccessDenied", f"put-object-retention {at} --retention", "Mode=COMPLIANCE,RetainUntilDate=2050-01-01T00:00:00Z")


@operation("canned ACLs")
def _():
    api(f"put-bucket-acl --bucket {BUCKET} --acl private")
    equal(api(f"get-bucket-acl --bucket {BUCKET}")["Grants"][0]["Permission"], "FULL_CONTROL")
    put(BUCKET, "acl", b"", "--acl", "private")
    equal(api(f"get-object-acl --bucket {BUCKET} --key acl")["Grants"][0]["Permission"], "FULL_CONTROL")


@operation("what is not there says so", needs="not-implemented")
def _():
    refused("NotImplemented", f"put-bucket-website --bucket {BUCKET} --website-configuration", '{"IndexDocument":{"Suffix":"i"}}')


@operation("a wrong key is refused")
def _():
    kept = dict(os.environ)
    wrong = {"SignatureDoesNotMatch": {"AWS_SECRET_ACCESS_KEY": "wrong" * 8}, "InvalidAccessKeyId": {"AWS_ACCESS_KEY_ID": "NOBODY" * 3}}
    for code, env in wrong.items():
        os.environ.update(env)
        try:
            run("s3api list-buckets", driver=clidriver.create_clidriver())
        except Refused as e:
            within(f"({code})", str(e))
        else:
            raise AssertionError(f"{env} was taken")
        finally:
            os.environ.update(kept)


s3lib.run()
