# The calls of python-etcd3, against the member at HOST:PORT: keys, prefixes,
# transactions, watches, leases, a lock, and users. It ends with the first that fails.
import sys
import threading

import etcd3

host, port = sys.argv[1].rsplit(":", 1)


def client(**more):
    return etcd3.client(host=host, port=int(port), timeout=10, **more)


def check(what, have, want):
    if have != want:
        raise SystemExit("%s: %r, want %r" % (what, have, want))


c = client()

# Keys.
c.put("k/a", "1")
c.put("k/b", "2")
value, meta = c.get("k/a")
check("get", (value, meta.key, meta.version), (b"1", b"k/a", 1))
check("prefix", [(m.key, v) for v, m in c.get_prefix("k/")], [(b"k/a", b"1"), (b"k/b", b"2")])
check("descending", [v for v, _ in c.get_prefix("k/", sort_order="descend", sort_target="key")], [b"2", b"1"])
check("delete", c.delete("k/b"), True)
check("delete of nothing", c.delete("k/b"), False)
check("get of nothing", c.get("k/b"), (None, None))
check("put if not exists", (c.put_if_not_exists("k/c", "3"), c.put_if_not_exists("k/c", "4")), (True, False))
check("replace", (c.replace("k/c", "x", "y"), c.replace("k/c", "3", "4")), (False, True))

# Transactions.
t = c.transactions
done, answers = c.transaction(
    compare=[t.value("k/a") == "1", t.version("k/a") > 0, t.create("k/none") == 0, t.mod("k/a") > 1],
    success=[t.put("k/a", "10"), t.get("k/a"), t.delete("k/c")],
    failure=[t.get("k/a")],
)
check("transaction", (done, answers[1][0][0]), (True, b"10"))
done, answers = c.transaction(compare=[t.value("k/a") == "1"], success=[], failure=[t.get("k/a")])
check("transaction, else", (done, answers[0][0][0]), (False, b"10"))

# Watches: history first, then what comes.
events, cancel = c.watch_prefix("k/", start_revision=1)
c.put("k/d", "5")
shown = []
for e in events:
    shown.append((type(e).__name__, e.key, e.value))
    if e.key == b"k/d":
        cancel()
        break
check("watch", shown, [
    ("PutEvent", b"k/a", b"1"), ("PutEvent", b"k/b", b"2"), ("DeleteEvent", b"k/b", b""),
    ("PutEvent", b"k/c", b"3"), ("PutEvent", b"k/c", b"4"),
    ("PutEvent", b"k/a", b"10"), ("DeleteEvent", b"k/c", b""), ("PutEvent", b"k/d", b"5"),
])

# Leases.
lease = c.lease(60)
c.put("leased", "v", lease=lease)
check("keys of a lease", (lease.granted_ttl, list(lease.keys)), (60, [b"leased"]))
check("keep alive", [r.TTL for r in lease.refresh()], [60])
gone, cancel = c.watch("leased")
lease.revoke()
check("end of a lease", type(next(iter(gone))).__name__, "DeleteEvent")
cancel()

# A lock.
lock = c.lock("turn", ttl=30)
check("lock", (lock.acquire(), lock.is_acquired()), (True, True))
check("key of the lock", c.get("/locks/turn")[0], lock.uuid)
check("unlock", (lock.release(), lock.is_acquired()), (True, False))

# Four count at once, by compare and swap.
c.put("count", "0")
failures = []


def count():
    try:
        mine, done = client(), 0
        while done < 5:
            n = mine.get("count")[0]
            done += mine.replace("count", n, str(int(n) + 1))
    except Exception as e:
        failures.append(e)


workers = [threading.Thread(target=count) for _ in range(4)]
for w in workers:
    w.start()
for w in workers:
    w.join()
check("count", (failures, c.get("count")[0]), ([], b"20"))

# The cluster.
check("status", (c.status().leader is not None, len(list(c.members))), (True, 1))
c.compact(c.get("count")[1].mod_revision)
check("hash", c.hash() > 0, True)

# Users. The package has no call that makes one; its messages do.
from etcd3 import etcdrpc  # noqa: E402

auth = etcdrpc.AuthStub(c.channel)
auth.UserAdd(etcdrpc.AuthUserAddRequest(name="root", password="secret"))
auth.RoleAdd(etcdrpc.AuthRoleAddRequest(name="root"))
auth.UserGrantRole(etcdrpc.AuthUserGrantRoleRequest(user="root", role="root"))
auth.AuthEnable(etcdrpc.AuthEnableRequest())
# What it does with a token needs TLS; here the token goes along by hand.
token = auth.Authenticate(etcdrpc.AuthenticateRequest(name="root", password="secret")).token
r = c.kvstub.Range(etcdrpc.RangeRequest(key=b"k/a"), metadata=(("token", token),))
check("as root", r.kvs[0].value, b"10")
try:
    c.get("k/a")
    raise SystemExit("who is nobody may read")
except Exception as e:
    check("as nobody", "user name is empty" in str(e), True)
try:
    client(user="root", password="wrong")
    raise SystemExit("a wrong password is taken")
except Exception as e:
    check("wrong password", "invalid user ID or password" in str(e), True)
print("all passed")
