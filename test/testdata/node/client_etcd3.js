// The calls of the npm package etcd3, against the member at HOST:PORT: keys, ranges,
// transactions, watches, leases, locks, elections, and users. It ends with the first that fails.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Etcd3, EtcdLockFailedError } from 'etcd3';

const hosts = `http://${process.argv[2]}`;
const open = [];
const client = (more = {}) => {
  const c = new Etcd3({ hosts, ...more });
  open.push(c);
  return c;
};

setTimeout(() => {
  console.log('out of time');
  process.exit(1);
}, 60_000);

const c = client();

// Keys and ranges.
await c.put('k/a').value('1');
await c.put('k/b').value(Buffer.from([0, 255, 10]));
await c.put('k/c').value('3');
assert.equal(await c.get('k/a').string(), '1');
assert.equal(await c.get('k/a').number(), 1);
assert.deepEqual(await c.get('k/b').buffer(), Buffer.from([0, 255, 10]));
assert.equal(await c.get('k/none').string(), null);
assert.deepEqual(await c.getAll().prefix('k/').keys(), ['k/a', 'k/b', 'k/c']);
assert.deepEqual(await c.getAll().prefix('k/').sort('Key', 'Descend').limit(2).keys(), ['k/c', 'k/b']);
assert.equal(await c.getAll().prefix('k/').count(), 3);
assert.equal((await c.put('k/a').value('2').getPrevious()).value.toString(), '1');
assert.equal((await c.delete().key('k/b')).deleted, '1');
assert.equal(await c.get('k/a').exists(), true);
const old = (await c.get('k/a').exec()).kvs[0].create_revision;
assert.equal(await c.get('k/a').revision(old).string(), '1');
const names = c.namespace('inside/');
await names.put('x').value('y');
assert.equal(await c.get('inside/x').string(), 'y');

// Transactions.
const yes = await c.if('k/a', 'Value', '==', '2').then(c.put('k/a').value('4'), c.get('k/c')).else(c.get('k/a')).commit();
assert.equal(yes.succeeded, true);
assert.equal(yes.responses[1].response_range.kvs[0].value.toString(), '3');
const no = await c.if('k/a', 'Version', '<', 1).and('k/none', 'Create', '==', 0).then(c.delete().all()).else(c.get('k/a')).commit();
assert.equal(no.succeeded, false);
assert.equal(no.responses[0].response_range.kvs[0].value.toString(), '4');

// Eight count at once, in transactions of its own making.
await c.put('count').value('0');
await Promise.all(Array.from({ length: 8 }, () =>
  c.stm({ retries: 100 }).transact(async tx => {
    await tx.put('count').value(Number(await tx.get('count').string()) + 1);
  })));
assert.equal(await c.get('count').number(), 8);

// Watches: history first, then what comes.
const seen = [];
const watcher = await c.watch().prefix('k/').startRevision('1').withPreviousKV().create();
const done = new Promise(resolve => watcher.on('data', r => {
  for (const e of r.events) {
    seen.push([e.type, e.kv.key.toString(), e.type === 'Put' ? e.kv.value.toString('latin1') : e.prev_kv.value.toString('latin1')]);
    if (e.kv.key.toString() === 'k/z') resolve();
  }
}));
await c.put('k/z').value('9');
await done;
await watcher.cancel();
assert.deepEqual(seen, [
  ['Put', 'k/a', '1'], ['Put', 'k/b', '\u0000\u00ff\n'], ['Put', 'k/c', '3'], ['Put', 'k/a', '2'],
  ['Delete', 'k/b', '\u0000\u00ff\n'], ['Put', 'k/a', '4'], ['Put', 'k/z', '9'],
]);

// Leases.
const lease = c.lease(30, { autoKeepAlive: false });
const id = await lease.grant();
await lease.put('leased').value('v');
assert.equal((await c.get('leased').exec()).kvs[0].lease, id);
assert.equal((await lease.keepaliveOnce()).TTL, '30');
const ended = await c.watch().key('leased').create();
const gone = once(ended, 'delete');
await lease.revoke();
await gone;
await ended.cancel();
assert.equal(await c.get('leased').string(), null);

// Locks.
const lock = c.lock('turn').ttl(30);
await lock.acquire();
await assert.rejects(c.lock('turn').ttl(30).acquire(), EtcdLockFailedError);
await lock.release();
assert.equal(await c.lock('turn').do(() => 'mine'), 'mine');

// An election.
const election = c.election('office', 30);
const first = election.campaign('first');
await first.wait();
assert.equal(await election.leader(), 'first');
await first.proclaim('still the first');
assert.equal(await election.leader(), 'still the first');
await first.resign();
const second = election.campaign('second');
await second.wait();
assert.equal(await election.leader(), 'second');
await second.resign();

// The cluster.
assert.equal((await c.cluster.memberList({})).members.length, 1);
assert.notEqual((await c.maintenance.status()).leader, '0');

// Users.
const root = c.user('root');
await root.create('secret');
await c.role('root').create();
await root.addRole('root');
await c.role('reader').create();
await c.role('reader').grant({ permission: 'Read', range: c.range({ prefix: 'k/' }) });
await c.user('kim').create('word');
await c.user('kim').addRole('reader');
await c.auth.authEnable();
await assert.rejects(c.get('k/a').string(), /user name is empty/);
await assert.rejects(client({ auth: { username: 'kim', password: 'wrong' } }).get('k/a').string(), /invalid user ID or password/);
const kim = client({ auth: { username: 'kim', password: 'word' } });
assert.equal(await kim.get('k/a').string(), '4');
await assert.rejects(kim.get('count').string(), /permission denied/);
await assert.rejects(kim.put('k/a').value('5'), /permission denied/);
await client({ auth: { username: 'root', password: 'secret' } }).auth.authDisable();

open.forEach(each => each.close());
console.log('all passed');
process.exit(0); // A lease given up while its renewal is under way leaves a timer of its whole time.
