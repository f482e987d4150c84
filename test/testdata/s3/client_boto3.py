"""boto3 as programs use it: what client_awscli.py has not, and what runs at the same time.

Usage: client_boto3.py PREFIX: every bucket's name begins with it."""

import hashlib
import io
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import boto3
import boto3.s3.transfer
import botocore.config
import botocore.exceptions
import botocore.session

import s3lib
from s3lib import MIB, data, equal, etag_of_parts, operation, within

PREFIX = sys.argv[1]
BUCKET, VERSIONED = f"{PREFIX}-plain", f"{PREFIX}-versioned"
BIG = data(20 * MIB + 777, 5)


def clients():
    """A client of each endpoint."""
    # By itself boto3 signs links with version 2 where the region is us-east-1.
    config = botocore.config.Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, read_timeout=20, max_pool_connections=32)
    return [boto3.client("s3", endpoint_url=e, config=config) for e in s3lib.ENDPOINTS]


CLIENTS = clients()
_turn = iter(range(1 << 62))


def s3():
    """The client of the endpoint whose turn it is."""
    return CLIENTS[next(_turn) % len(CLIENTS)]


def refused(code, f, **arguments):
    try:
        f(**arguments)
    except botocore.exceptions.ClientError as e:
        equal(e.response["Error"]["Code"], code, e)
        return e.response
    raise AssertionError(f"not refused with {code}")


def knows(operation_name, member):
    shape = CLIENTS[0].meta.service_model.operation_model(operation_name).input_shape
    return f"{operation_name} with {member}", member in shape.members


def body(key, bucket=BUCKET, **more):
    return s3().get_object(Bucket=bucket, Key=key, **more)["Body"].read()


@operation("create_bucket, waiters, head_bucket")
def _():
    s3().create_bucket(Bucket=BUCKET)
    s3().get_waiter("bucket_exists").wait(Bucket=BUCKET, WaiterConfig={"Delay": 1, "MaxAttempts": 2})
    s3().head_bucket(Bucket=BUCKET)
    refused("404", s3().head_bucket, Bucket=BUCKET + "-none")


@operation("create_bucket again is answered as S3 does it")
def _():
    try:
        s3().create_bucket(Bucket=BUCKET)
    except botocore.exceptions.ClientError as e:
        equal(e.response["Error"]["Code"], "BucketAlreadyOwnedByYou")
    refused("InvalidBucketName", CLIENTS[0].create_bucket, Bucket="No_Capitals")


@operation("put_object and get_object of every kind of body")
def _():
    for size in (0, 1, 65535, 65536, 65537, 5 * MIB + 1):
        content = data(size, size)
        answer = s3().put_object(Bucket=BUCKET, Key=f"size/{size}", Body=content)
        equal(answer["ETag"], f'"{s3lib.md5(content)}"')
        s3().put_object(Bucket=BUCKET, Key=f"stream/{size}", Body=io.BytesIO(content))
        for k in ("size", "stream"):
            equal(body(f"{k}/{size}") == content, True, f"{k} of {size} bytes")


@operation("put_object with Content-MD5")
def _():
    import base64

    good = base64.b64encode(hashlib.md5(b"x").digest()).decode()
    s3().put_object(Bucket=BUCKET, Key="md5", Body=b"x", ContentMD5=good)
    refused("BadDigest", s3().put_object, Bucket=BUCKET, Key="md5", Body=b"y", ContentMD5=good)
    refused("InvalidDigest", s3().put_object, Bucket=BUCKET, Key="md5", Body=b"y", ContentMD5="zz")


@operation("keys of every kind", needs="all-keys")
def _():
    keys = ["a//b", "/lead", "trail/", "a/./b", "a/../b", "..", "sp ace", "plus+", "per%2Fcent", "q?x=1#f", "ü-ñ-漢-🙂",
            "tab\tnew", "amp&<>\"'", "\\back", "~-._", "x" * 1024]  # fmt: skip
    for i, k in enumerate(keys):
        s3().put_object(Bucket=BUCKET, Key="keys/" + k if len(k) < 1000 else k, Body=str(i).encode())
    for i, k in enumerate(keys):
        equal(body("keys/" + k if len(k) < 1000 else k), str(i).encode(), k)
    listed = [c["Key"] for c in s3().list_objects_v2(Bucket=BUCKET, Prefix="keys/")["Contents"]]
    equal(listed, sorted(("keys/" + k for k in keys if len(k) < 1000), key=str.encode))
    answer = s3().delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "keys/" + k} for k in keys if len(k) < 1000]})
    equal(len(answer["Deleted"]), len(keys) - 1)
    equal(s3().list_objects_v2(Bucket=BUCKET, Prefix="keys/")["KeyCount"], 0)
    refused("KeyTooLongError", s3().put_object, Bucket=BUCKET, Key="x" * 1025, Body=b"")


@operation("keys that are paths upwards", needs="all-keys")
def _():
    for k in ("up/../b", "up/./b"):
        s3().put_object(Bucket=BUCKET, Key=k, Body=k.encode())
    equal(body("up/../b"), b"up/../b")
    equal(s3().list_objects_v2(Bucket=BUCKET, Prefix="b")["KeyCount"], 0)


@operation("upload_fileobj and download_fileobj, in parts at the same time")
def _():
    how = boto3.s3.transfer.TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=8)
    s3().upload_fileobj(io.BytesIO(BIG), BUCKET, "big", Config=how, ExtraArgs={"Metadata": {"k": "v"}})
    out = io.BytesIO()
    s3().download_fileobj(BUCKET, "big", out, Config=how)
    equal(out.getvalue() == BIG, True, "the bytes are the same")
    head = s3().head_object(Bucket=BUCKET, Key="big")
    equal((head["ETag"], head["Metadata"]), (etag_of_parts(*(BIG[i : i + 5 * MIB] for i in range(0, len(BIG), 5 * MIB))), {"k": "v"}))


@operation("managed copy in parts")
def _():
    how = boto3.s3.transfer.TransferConfig(multipart_threshold=6 * MIB, multipart_chunksize=6 * MIB)
    s3().copy({"Bucket": BUCKET, "Key": "big"}, BUCKET, "big copy", Config=how)
    equal(body("big copy") == BIG, True, "the bytes are the same")


@operation("a body is read as a stream, and left in the middle")
def _():
    stream = s3().get_object(Bucket=BUCKET, Key="big")["Body"]
    equal(stream.read(100_000) == BIG[:100_000], True, "the first bytes")
    stream.close()
    equal(b"".join(s3().get_object(Bucket=BUCKET, Key="big")["Body"].iter_chunks(1 << 16)) == BIG, True, "in chunks")


@operation("paginators of 250 keys: list_objects, list_objects_v2, by delimiter")
def _():
    keys = [f"page/{i % 10}/{i:04}" for i in range(250)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda k: s3().put_object(Bucket=BUCKET, Key=k, Body=b""), keys))
    for name in ("list_objects", "list_objects_v2"):
        pages = CLIENTS[0].get_paginator(name).paginate(Bucket=BUCKET, Prefix="page/", PaginationConfig={"PageSize": 7})
        equal([c["Key"] for p in pages for c in p.get("Contents", [])], sorted(keys), name)
        pages = CLIENTS[0].get_paginator(name).paginate(Bucket=BUCKET, Prefix="page/", Delimiter="/", PaginationConfig={"PageSize": 3})
        equal([c["Prefix"] for p in pages for c in p.get("CommonPrefixes", [])], [f"page/{i}/" for i in range(10)], name)


@operation("a listing goes on at another member")
def _():
    seen, token = [], {}
    while True:
        page = s3().list_objects_v2(Bucket=BUCKET, Prefix="page/", MaxKeys=40, **token)
        seen += [c["Key"] for c in page["Contents"]]
        equal(page["KeyCount"], len(page["Contents"]))
        if not page["IsTruncated"]:
            break
        token = {"ContinuationToken": page["NextContinuationToken"]}
    equal(len(seen), 250)
    equal(seen, sorted(set(seen)))


@operation("what is written at one member is read at once at the others")
def _():
    for i in range(30):
        s3().put_object(Bucket=BUCKET, Key="now", Body=str(i).encode())
        equal(body("now"), str(i).encode())
        s3().put_object(Bucket=BUCKET, Key=f"fresh/{i}", Body=b"")
        equal(s3().list_objects_v2(Bucket=BUCKET, Prefix="fresh/")["KeyCount"], 1)
        s3().delete_object(Bucket=BUCKET, Key=f"fresh/{i}")
        equal(s3().list_objects_v2(Bucket=BUCKET, Prefix="fresh/")["KeyCount"], 0)


@operation("of racing conditional puts exactly one wins", needs=[knows("PutObject", "IfNoneMatch")])
def _():
    for n in range(10):
        race(n, lambda c, who: c.put_object(Bucket=BUCKET, Key=f"race/{n}", Body=who, IfNoneMatch="*"))
    tag = s3().put_object(Bucket=BUCKET, Key="race/swap", Body=b"first")["ETag"]
    race("swap", lambda c, who: c.put_object(Bucket=BUCKET, Key="race/swap", Body=who, IfMatch=tag))


def race(name, write):
    start, won, other = threading.Barrier(16), [], []

    def one(i):
        who = f"writer {i}".encode()
        start.wait()
        try:
            write(CLIENTS[i % len(CLIENTS)], who)
            won.append(who)
        except botocore.exceptions.ClientError as e:
            code = e.response["Error"]["Code"]
            if code not in ("PreconditionFailed", "ConditionalRequestConflict"):
                other.append(code)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(16)))
    equal((len(won), other), (1, []), "winners, and other codes")
    equal(body(f"race/{name}"), won[0], "the object is the winner's")


@operation("presigned URLs: get, put, head, delete, with what they are bound to")
def _():
    put = s3().generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "url", "ContentType": "text/a"}, ExpiresIn=60)
    equal(s3lib.http("PUT", put, b"by url", {"Content-Type": "text/b"})[0], 403, "another type")
    equal(s3lib.http("PUT", put, b"by url", {"Content-Type": "text/a"})[0], 200)
    get = s3().generate_presigned_url(
        "get_object", Params={"Bucket": BUCKET, "Key": "url", "ResponseContentDisposition": 'attachment; filename="x y"'}
    )
    status, headers, content = s3lib.http("GET", get)
    equal((status, headers["Content-Disposition"], content), (200, 'attachment; filename="x y"', b"by url"))
    equal(s3lib.http("PUT", get, b"no")[0], 403, "another method")
    equal(s3lib.http("GET", get.replace("/url?", "/url2?"))[0], 403, "another key")
    delete = s3().generate_presigned_url("delete_object", Params={"Bucket": BUCKET, "Key": "url"})
    equal(s3lib.http("DELETE", delete)[0], 204)


@operation("presigned URLs expire")
def _():
    url = s3().generate_presigned_url("list_objects_v2", Params={"Bucket": BUCKET}, ExpiresIn=2)
    equal(s3lib.http("GET", url)[0], 200)
    end = time.monotonic() + 10
    status = 200
    while status == 200 and time.monotonic() < end:
        time.sleep(0.2)
        status, _, said = s3lib.http("GET", url)
    equal(status, 403, said)
    within(b"<Code>AccessDenied</Code>", said)


def form(fields, content, name="file"):
    """A form as a browser sends it."""
    edge = b"----edge7d3f"
    parts = [b"--%s\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n%s\r\n" % (edge, k.encode(), v.encode()) for k, v in fields.items()]
    parts.append(b"--%s\r\nContent-Disposition: form-data; name=\"%s\"; filename=\"f.txt\"\r\nContent-Type: text/plain\r\n\r\n%s\r\n--%s--\r\n"
                 % (edge, name.encode(), content, edge))  # fmt: skip
    return b"".join(parts), {"Content-Type": f"multipart/form-data; boundary={edge.decode()}"}


@operation("presigned POST, and what its policy forbids")
def _():
    post = s3().generate_presigned_post(
        BUCKET, "form/${filename}", Fields={"success_action_status": "201", "x-amz-meta-a": "b"},
        Conditions=[["content-length-range", 1, 100], {"success_action_status": "201"}, {"x-amz-meta-a": "b"}],
    )  # fmt: skip
    content, headers = form(post["fields"], b"from a form")
    status, _, said = s3lib.http("POST", post["url"], content, headers)
    equal(status, 201, said)
    within(b"<Key>form/f.txt</Key>", said)
    answer = s3().get_object(Bucket=BUCKET, Key="form/f.txt")
    equal((answer["Body"].read(), answer["Metadata"]), (b"from a form", {"a": "b"}))
    status, _, said = s3lib.http("POST", post["url"], *form(post["fields"], b"x" * 101))
    equal(status, 400, said)
    within(b"EntityTooLarge", said)
    status, _, said = s3lib.http("POST", post["url"], *form(dict(post["fields"], **{"x-amz-meta-a": "c"}), b"x"))
    equal(status, 403, said)
    status, _, said = s3lib.http("POST", post["url"], *form(dict(post["fields"], key="elsewhere"), b"x"))
    equal(status, 403, said)
    signature = dict(post["fields"], **{"x-amz-signature": "0" * 64})
    equal(s3lib.http("POST", post["url"], *form(signature, b"x"))[0], 403)


@operation("versions: each is read, copied and deleted by its id")
def _():
    s3().create_bucket(Bucket=VERSIONED)
    s3().put_bucket_versioning(Bucket=VERSIONED, VersioningConfiguration={"Status": "Enabled"})
    ids = [s3().put_object(Bucket=VERSIONED, Key=k, Body=f"{k}{i}".encode())["VersionId"] for i in range(5) for k in "ab"]
    equal(len(set(ids)), 10)
    pages = CLIENTS[-1].get_paginator("list_object_versions").paginate(Bucket=VERSIONED, PaginationConfig={"PageSize": 3})
    listed = [(v["Key"], v["VersionId"]) for p in pages for v in p.get("Versions", [])]
    equal(listed, [("a", i) for i in ids[-2::-2]] + [("b", i) for i in ids[::-2]])
    equal(body("a", VERSIONED, VersionId=ids[2]), b"a1")
    s3().delete_object(Bucket=VERSIONED, Key="a", VersionId=ids[-2])
    equal(body("a", VERSIONED), b"a3", "the one before is the latest")
    refused("NoSuchVersion", s3().get_object, Bucket=VERSIONED, Key="a", VersionId=ids[-2])


@operation("resources: Bucket, Object, collections")
def _():
    bucket = boto3.resource("s3", endpoint_url=s3lib.endpoint()).Bucket(VERSIONED)
    equal({o.key for o in bucket.objects.all()}, {"a", "b"})
    bucket.Object("c").put(Body=b"c")
    bucket.object_versions.all().delete()
    equal(list(bucket.object_versions.all()), [])
    bucket.delete()


@operation("checksums that the SDK adds and checks by itself", needs=[knows("CreateMultipartUpload", "ChecksumType")])
def _():
    content = data(100_000, 8)
    answer = s3().put_object(Bucket=BUCKET, Key="summed", Body=content)
    equal(answer.get("ChecksumCRC32") or answer.get("ChecksumCRC64NVME") is not None, answer.get("ChecksumCRC32") or True)
    got = s3().get_object(Bucket=BUCKET, Key="summed", ChecksumMode="ENABLED")
    equal(got["Body"].read() == content, True, "the bytes are the same")
    equal(got.get("ChecksumCRC32"), answer.get("ChecksumCRC32"))
    for a in ("CRC32", "SHA1", "SHA256"):
        answer = s3().put_object(Bucket=BUCKET, Key="summed", Body=io.BytesIO(content), ChecksumAlgorithm=a)
        equal(answer["Checksum" + a], s3lib.checksum(a, content))


@operation("a body that was changed on its way is refused")
def _():
    def change(request, **_):
        request.body = b"changed"

    client = clients()[0]
    client.meta.events.register("before-send.s3.PutObject", change)
    try:
        client.put_object(Bucket=BUCKET, Key="changed", Body=b"as sent")
    except botocore.exceptions.ClientError as e:
        within(e.response["Error"]["Code"], ("XAmzContentSHA256Mismatch", "BadDigest", "XAmzContentChecksumMismatch"))
    else:
        raise AssertionError("it was taken")
    refused("404", s3().head_object, Bucket=BUCKET, Key="changed")


@operation("32 requests at the same time, to all members")
def _():
    def one(i):
        content = data(100_000 + i, i)
        s3().put_object(Bucket=BUCKET, Key=f"many/{i}", Body=content)
        return body(f"many/{i}") == content

    with ThreadPoolExecutor(32) as pool:
        equal(all(pool.map(one, range(64))), True, "all bytes are the same")


@operation("a request that is signed by version 2 is refused", needs="refuse-v2")
def _():
    other = boto3.client("s3", endpoint_url=s3lib.endpoint(), region_name="us-east-1",
                         config=botocore.config.Config(signature_version="s3"))  # fmt: skip
    try:
        other.list_buckets()
    except botocore.exceptions.ClientError as e:
        within(e.response["Error"]["Code"], ("InvalidRequest", "AccessDenied", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed"))
    else:
        raise AssertionError("a signature of version 2 was taken")


@operation("Expect: 100-continue: a large body is not sent to who may not write")
def _():
    thief = boto3.client("s3", endpoint_url=s3lib.endpoint(), aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"], aws_secret_access_key="x" * 40)
    refused("SignatureDoesNotMatch", thief.put_object, Bucket=BUCKET, Key="stolen", Body=BIG)
    refused("404", s3().head_object, Bucket=BUCKET, Key="stolen")


s3lib.run()
