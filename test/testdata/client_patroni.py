# The life of a leader key as Patroni's own etcd3 class has it, against the member at
# HOST:PORT: two nodes, of which one takes the key, keeps it, writes beside it, is
# followed by the other, and gives it up. It ends with the first thing that fails.
import sys
import time

from patroni.dcs import get_dcs

address = sys.argv[1]


def node(name):
    return get_dcs({
        "scope": "demo", "namespace": "/service/", "name": name,
        "ttl": 30, "loop_wait": 2, "retry_timeout": 5,
        "etcd3": {"hosts": [address], "protocol": "http"},
    })


def check(what, have, want):
    if have != want:
        raise SystemExit("%s: %r, want %r" % (what, have, want))


def eventually(what, f, want):
    end = time.time() + 15
    while f() != want:
        if time.time() > end:
            raise SystemExit("%s: %r, want %r" % (what, f(), want))


def leader(of):
    c = of.get_cluster()
    return c.leader and c.leader.name


a, b = node("a"), node("b")
check("empty", (leader(a), a.get_cluster().members), (None, []))
check("initialize", (bool(a.initialize(True, "")), bool(b.initialize(True, ""))), (True, False))
for n, name in ((a, "a"), (b, "b")):
    check("touch " + name, bool(n.touch_member({"conn_url": "postgres://" + name, "state": "running", "role": "replica"})), True)
eventually("members", lambda: sorted(m.name for m in b.get_cluster().members), ["a", "b"])

check("a takes the leader key", bool(a.attempt_to_acquire_leader()), True)
check("b does not", bool(b.attempt_to_acquire_leader()), False)
eventually("b sees", lambda: leader(b), "a")
check("configuration", bool(a.set_config_value('{"ttl": 30}')), True)
check("old configuration", bool(b.set_config_value("{}", index=1)), False)
eventually("configuration", lambda: b.get_cluster().config and b.get_cluster().config.data, {"ttl": 30})
b.get_cluster()
for lsn in (100, 200):
    check("update", bool(a.update_leader(lsn)), True)
    eventually("position", lambda: b.get_cluster().last_lsn, lsn)

# A switchover: it asks for one, a steps down, b follows.
check("failover key", bool(a.manual_failover("a", "b")), True)
eventually("failover", lambda: b.get_cluster().failover and b.get_cluster().failover.candidate, "b")
a.get_cluster()
check("a gives the key up", bool(a.delete_leader(200)), True)
eventually("nobody", lambda: leader(b), None)
check("b takes the leader key", bool(b.attempt_to_acquire_leader()), True)
eventually("a sees", lambda: leader(a), "b")
check("history", bool(b.set_history_value('[[1, 200, "x"]]')), True)
check("synchronous", bool(b.write_sync_state("b", "a")), True)
eventually("synchronous", lambda: a.get_cluster().sync.leader, "b")
check("delete cluster", bool(b.delete_cluster()), True)
eventually("empty", lambda: (leader(a), a.get_cluster().members), (None, []))
print("all passed")
sys.stdout.flush()
import os  # noqa: E402

os._exit(0)  # Patroni's watchers are threads that go on
