package etcdapi

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"chainfire"
	"chainfire/auth"
)

// fakeMember is a member of one, in memory: every version of every key, enough
// of the etcd model to stand behind real clients. hook, if set, runs before each
// call and may fail it.
type fakeMember struct {
	mu        sync.Mutex
	rev       int64
	compacted int64
	keys      map[string][]chainfire.KeyValue // a version of 0 is a deletion
	events    []chainfire.Event
	changed   chan struct{} // closed and replaced at each change
	streams   int
	hook      func(ctx context.Context, call string) error
	leader    uint64
	learner   bool
	members   []chainfire.MemberInfo
	asked     []string // the reads, "linearizable" or "serializable"
	leases    map[int64]int64
	alarms    []chainfire.Alarm
	auth      *auth.State
}

const (
	fakeCluster = 0xc1
	fakeID      = 0x11
	fakeTerm    = 7
)

func newFake() *fakeMember {
	return &fakeMember{
		rev: 1, compacted: -1, keys: map[string][]chainfire.KeyValue{}, leases: map[int64]int64{}, changed: make(chan struct{}), leader: fakeID, auth: auth.New(),
		members: []chainfire.MemberInfo{{ID: fakeID, Name: "one", PeerURLs: []string{"http://127.0.0.1:1"}, ClientURLs: []string{"http://127.0.0.1:2"}}},
	}
}

func (f *fakeMember) enter(ctx context.Context, call string) error {
	f.mu.Lock()
	hook := f.hook
	f.mu.Unlock()
	if hook != nil {
		return hook(ctx, call)
	}
	return nil
}

// set changes the fake under its lock.
func (f *fakeMember) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	f.announce()
}

func (f *fakeMember) announce() {
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeMember) header(rev int64) chainfire.Header {
	return chainfire.Header{ClusterID: fakeCluster, MemberID: fakeID, Revision: rev, RaftTerm: fakeTerm}
}

// at returns a key's version at a revision, or nil.
func (f *fakeMember) at(key string, rev int64) *chainfire.KeyValue {
	var out *chainfire.KeyValue
	for i := range f.keys[key] {
		if v := &f.keys[key][i]; v.ModRevision <= rev {
			out = v
		}
	}
	if out == nil || out.Version == 0 {
		return nil
	}
	kv := *out
	return &kv
}

func within(key string, from, end []byte) bool {
	switch {
	case len(end) == 0:
		return key == string(from)
	case bytes.Equal(end, []byte{0}):
		return key >= string(from)
	}
	return key >= string(from) && key < string(end)
}

func (f *fakeMember) Range(ctx context.Context, r *chainfire.RangeRequest) (*chainfire.RangeResponse, error) {
	if err := f.enter(ctx, "Range"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.learner && !r.Serializable {
		return nil, chainfire.ErrLearner
	}
	if r.Serializable {
		f.asked = append(f.asked, "serializable")
	} else {
		f.asked = append(f.asked, "linearizable")
	}
	return f.read(r, f.rev)
}

func (f *fakeMember) read(r *chainfire.RangeRequest, now int64) (*chainfire.RangeResponse, error) {
	rev := r.Revision
	switch {
	case rev <= 0:
		rev = now
	case rev > now:
		return nil, chainfire.ErrFutureRevision
	case rev < f.compacted:
		return nil, chainfire.ErrCompacted
	}
	out := &chainfire.RangeResponse{Header: f.header(now)}
	for key := range f.keys {
		kv := f.at(key, rev)
		if kv == nil || !within(key, r.Key, r.RangeEnd) {
			continue
		}
		out.Count++
		low := kv.ModRevision < r.MinModRevision || kv.CreateRevision < r.MinCreateRevision
		high := r.MaxModRevision > 0 && kv.ModRevision > r.MaxModRevision || r.MaxCreateRevision > 0 && kv.CreateRevision > r.MaxCreateRevision
		if !low && !high {
			out.KVs = append(out.KVs, *kv)
		}
	}
	if r.CountOnly {
		out.KVs = nil
		return out, nil
	}
	slices.SortFunc(out.KVs, func(a, b chainfire.KeyValue) int { return bytes.Compare(a.Key, b.Key) })
	if r.SortOrder != chainfire.SortNone {
		slices.SortStableFunc(out.KVs, func(a, b chainfire.KeyValue) int { return compareBy(r, &a, &b) })
	}
	if r.Limit > 0 && int64(len(out.KVs)) > r.Limit {
		out.KVs, out.More = out.KVs[:r.Limit], true
	}
	for i := range out.KVs {
		if r.KeysOnly {
			out.KVs[i].Value = nil
		}
	}
	return out, nil
}

func compareBy(r *chainfire.RangeRequest, a, b *chainfire.KeyValue) int {
	c := 0
	switch r.SortTarget {
	case chainfire.SortByKey:
		c = bytes.Compare(a.Key, b.Key)
	case chainfire.SortByVersion:
		c = cmp.Compare(a.Version, b.Version)
	case chainfire.SortByCreate:
		c = cmp.Compare(a.CreateRevision, b.CreateRevision)
	case chainfire.SortByMod:
		c = cmp.Compare(a.ModRevision, b.ModRevision)
	case chainfire.SortByValue:
		c = bytes.Compare(a.Value, b.Value)
	}
	if r.SortOrder == chainfire.SortDescend {
		return -c
	}
	return c
}

func (f *fakeMember) put(r *chainfire.PutRequest, rev int64) (*chainfire.PutResponse, error) {
	old := f.at(string(r.Key), rev)
	kv := chainfire.KeyValue{Key: r.Key, Value: r.Value, Lease: r.Lease, CreateRevision: rev, ModRevision: rev, Version: 1}
	if old != nil {
		kv.CreateRevision, kv.Version = old.CreateRevision, old.Version+1
	}
	if r.IgnoreValue || r.IgnoreLease {
		if old == nil {
			return nil, chainfire.ErrKeyNotFound
		}
		if r.IgnoreValue {
			kv.Value = old.Value
		}
		if r.IgnoreLease {
			kv.Lease = old.Lease
		}
	}
	f.keys[string(r.Key)] = append(f.keys[string(r.Key)], kv)
	f.events = append(f.events, chainfire.Event{Type: chainfire.EventPut, KV: kv, PrevKV: old})
	out := &chainfire.PutResponse{Header: f.header(rev)}
	if r.PrevKV {
		out.PrevKV = old
	}
	return out, nil
}

func (f *fakeMember) remove(r *chainfire.DeleteRangeRequest, rev int64) *chainfire.DeleteRangeResponse {
	found, err := f.read(&chainfire.RangeRequest{Key: r.Key, RangeEnd: r.RangeEnd}, rev)
	if err != nil {
		panic(err) // a read of the newest revision cannot fail
	}
	out := &chainfire.DeleteRangeResponse{Header: f.header(rev), Deleted: found.Count}
	for i := range found.KVs {
		old := &found.KVs[i]
		gone := chainfire.KeyValue{Key: old.Key, ModRevision: rev}
		f.keys[string(old.Key)] = append(f.keys[string(old.Key)], gone)
		f.events = append(f.events, chainfire.Event{Type: chainfire.EventDelete, KV: gone, PrevKV: old})
	}
	if found.Count == 0 {
		out.Header = f.header(f.rev)
	}
	if r.PrevKV {
		out.PrevKVs = found.KVs
	}
	return out
}

// write runs a change at the next revision, which is taken if there was one.
func (f *fakeMember) write(change func(rev int64) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := len(f.events)
	if err := change(f.rev + 1); err != nil {
		return err
	}
	if len(f.events) > before {
		f.rev++
		f.announce()
	}
	return nil
}

func (f *fakeMember) Put(ctx context.Context, r *chainfire.PutRequest) (out *chainfire.PutResponse, err error) {
	if err := f.enter(ctx, "Put"); err != nil {
		return nil, err
	}
	err = f.write(func(rev int64) error { out, err = f.put(r, rev); return err })
	return out, err
}

func (f *fakeMember) DeleteRange(ctx context.Context, r *chainfire.DeleteRangeRequest) (out *chainfire.DeleteRangeResponse, err error) {
	if err := f.enter(ctx, "DeleteRange"); err != nil {
		return nil, err
	}
	err = f.write(func(rev int64) error { out = f.remove(r, rev); return nil })
	return out, err
}

func (f *fakeMember) Txn(ctx context.Context, r *chainfire.TxnRequest) (out *chainfire.TxnResponse, err error) {
	if err := f.enter(ctx, "Txn"); err != nil {
		return nil, err
	}
	err = f.write(func(rev int64) error { out, err = f.txn(r, rev); return err })
	if err != nil {
		return nil, err
	}
	out.Header = f.Header()
	return out, nil
}

func (f *fakeMember) txn(r *chainfire.TxnRequest, rev int64) (*chainfire.TxnResponse, error) {
	out := &chainfire.TxnResponse{Succeeded: true}
	for i := range r.Compare {
		out.Succeeded = out.Succeeded && f.holds(&r.Compare[i])
	}
	ops := r.Success
	if !out.Succeeded {
		ops = r.Failure
	}
	for i := range ops {
		var resp chainfire.OpResponse
		var err error
		switch o := &ops[i]; {
		case o.Range != nil:
			resp.Range, err = f.read(o.Range, f.rev)
		case o.Put != nil:
			resp.Put, err = f.put(o.Put, rev)
		case o.Delete != nil:
			resp.Delete = f.remove(o.Delete, rev)
		case o.Txn != nil:
			resp.Txn, err = f.txn(o.Txn, rev)
		}
		if err != nil {
			return nil, err
		}
		out.Responses = append(out.Responses, resp)
	}
	return out, nil
}

func (f *fakeMember) holds(c *chainfire.Compare) bool {
	kv := f.at(string(c.Key), f.rev)
	if kv == nil {
		if c.Target == chainfire.CompareValue {
			return false
		}
		kv = &chainfire.KeyValue{}
	}
	var n int
	switch c.Target {
	case chainfire.CompareVersion:
		n = cmp.Compare(kv.Version, c.Number)
	case chainfire.CompareCreate:
		n = cmp.Compare(kv.CreateRevision, c.Number)
	case chainfire.CompareMod:
		n = cmp.Compare(kv.ModRevision, c.Number)
	case chainfire.CompareLease:
		n = cmp.Compare(kv.Lease, c.Number)
	case chainfire.CompareValue:
		n = bytes.Compare(kv.Value, c.Value)
	}
	switch c.Result {
	case chainfire.CompareEqual:
		return n == 0
	case chainfire.CompareGreater:
		return n > 0
	case chainfire.CompareLess:
		return n < 0
	}
	return n != 0
}

func (f *fakeMember) Compact(ctx context.Context, r *chainfire.CompactRequest) (*chainfire.CompactResponse, error) {
	if err := f.enter(ctx, "Compact"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case r.Revision <= f.compacted:
		return nil, chainfire.ErrCompacted
	case r.Revision > f.rev:
		return nil, chainfire.ErrFutureRevision
	}
	f.compacted = r.Revision
	f.announce()
	return &chainfire.CompactResponse{Header: f.header(f.rev)}, nil
}

func (f *fakeMember) Revision() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rev
}

// fakeHash is the hash of whatever the fake holds.
const fakeHash = 0x4a54

func (f *fakeMember) HashKV(_ context.Context, rev int64) (*chainfire.KVHash, error) {
	now := f.Revision()
	if rev > now {
		return nil, chainfire.ErrFutureRevision
	}
	return &chainfire.KVHash{Header: f.header(now), Hash: fakeHash, HashRevision: now, CompactRevision: f.compacted}, nil
}

// fakeFile is a file of etcd with a few bytes.
type fakeFile struct{ *strings.Reader }

func (fakeFile) Close() error    { return nil }
func (fakeFile) Version() string { return "3.7.0" }

// fakeFileText is more than one message takes.
var fakeFileText = strings.Repeat("0123456789abcdef", 5000)

func (f *fakeMember) EtcdSnapshot(ctx context.Context) (chainfire.EtcdFile, error) {
	if err := f.enter(ctx, "snapshot"); err != nil {
		return nil, err
	}
	return fakeFile{strings.NewReader(fakeFileText)}, nil
}

func (f *fakeMember) Header() chainfire.Header { return f.header(f.Revision()) }
