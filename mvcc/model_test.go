package mvcc

import (
	"bytes"
	"slices"
	"sort"

	"chainfire"
)

// modelVersion is one version of one key in the model.
type modelVersion struct {
	kv      chainfire.KeyValue
	deleted bool
}

// model is the key space written as plainly as can be: every version of every
// key for ever, and every event in order.
type model struct {
	versions  map[string][]modelVersion
	events    []chainfire.Event
	revision  int64
	compacted int64
}

func newModel() *model {
	return &model{versions: map[string][]modelVersion{}, revision: firstRevision, compacted: NeverCompacted}
}

// op is one change: a put, or a delete of an interval.
type op struct {
	key, end, value []byte
	delete          bool
}

// txn applies changes in one revision.
func (m *model) txn(ops []op) {
	main := m.revision + 1
	for _, o := range ops {
		if !o.delete {
			kv := chainfire.KeyValue{Key: o.key, Value: o.value, CreateRevision: main, ModRevision: main, Version: 1}
			if old := m.at(string(o.key), main); old != nil {
				kv.CreateRevision, kv.Version = old.CreateRevision, old.Version+1
			}
			m.versions[string(o.key)] = append(m.versions[string(o.key)], modelVersion{kv: kv})
			m.events = append(m.events, chainfire.Event{Type: chainfire.EventPut, KV: kv})
			m.revision = main
			continue
		}
		for _, kv := range m.live(o.key, o.end, main) {
			gone := chainfire.KeyValue{Key: kv.Key, ModRevision: main}
			m.versions[string(kv.Key)] = append(m.versions[string(kv.Key)], modelVersion{gone, true})
			m.events = append(m.events, chainfire.Event{Type: chainfire.EventDelete, KV: gone})
			m.revision = main
		}
	}
}

// at is the live version of a key at a revision, nil for none.
func (m *model) at(key string, rev int64) *chainfire.KeyValue {
	l := m.versions[key]
	for i := len(l) - 1; i >= 0; i-- {
		if l[i].kv.ModRevision <= rev {
			if l[i].deleted {
				return nil
			}
			return &l[i].kv
		}
	}
	return nil
}

func inRange(key, from, end []byte) bool {
	switch {
	case len(end) == 0:
		return bytes.Equal(key, from)
	case len(end) == 1 && end[0] == 0:
		return bytes.Compare(key, from) >= 0
	}
	return bytes.Compare(key, from) >= 0 && bytes.Compare(key, end) < 0
}

func (m *model) live(from, end []byte, rev int64) []chainfire.KeyValue {
	var kvs []chainfire.KeyValue
	for key := range m.versions {
		if kv := m.at(key, rev); kv != nil && inRange([]byte(key), from, end) {
			kvs = append(kvs, *kv)
		}
	}
	sort.Slice(kvs, func(i, j int) bool { return bytes.Compare(kvs[i].Key, kvs[j].Key) < 0 })
	return kvs
}

// rangeKV answers a range the slow way.
func (m *model) rangeKV(r *chainfire.RangeRequest) (*chainfire.RangeResponse, error) {
	rev := r.Revision
	switch {
	case rev <= 0:
		rev = m.revision
	case rev > m.revision:
		return nil, chainfire.ErrFutureRevision
	case rev < m.compacted:
		return nil, chainfire.ErrCompacted
	}
	all := m.live(r.Key, r.RangeEnd, rev)
	resp := &chainfire.RangeResponse{Header: chainfire.Header{Revision: m.revision}, Count: int64(len(all))}
	if r.CountOnly {
		return resp, nil
	}
	kvs := slices.DeleteFunc(all, func(kv chainfire.KeyValue) bool {
		return r.MinModRevision > 0 && kv.ModRevision < r.MinModRevision ||
			r.MaxModRevision > 0 && kv.ModRevision > r.MaxModRevision ||
			r.MinCreateRevision > 0 && kv.CreateRevision < r.MinCreateRevision ||
			r.MaxCreateRevision > 0 && kv.CreateRevision > r.MaxCreateRevision
	})
	if r.SortTarget != chainfire.SortByKey || r.SortOrder != chainfire.SortNone {
		sort.SliceStable(kvs, func(i, j int) bool {
			if r.SortOrder == chainfire.SortDescend {
				i, j = j, i
			}
			return modelLess(r.SortTarget, &kvs[i], &kvs[j])
		})
	}
	if r.Limit > 0 && int64(len(kvs)) > r.Limit {
		kvs, resp.More = kvs[:r.Limit], true
	}
	for i := range kvs {
		if r.KeysOnly {
			kvs[i].Value = nil
		}
		if r.KeysOnly && r.SortTarget != chainfire.SortByValue {
			kvs[i].Lease = 0
		}
	}
	resp.KVs = kvs
	return resp, nil
}

func modelLess(t chainfire.SortTarget, a, b *chainfire.KeyValue) bool {
	switch t {
	case chainfire.SortByVersion:
		return a.Version < b.Version
	case chainfire.SortByCreate:
		return a.CreateRevision < b.CreateRevision
	case chainfire.SortByMod:
		return a.ModRevision < b.ModRevision
	case chainfire.SortByValue:
		return bytes.Compare(a.Value, b.Value) < 0
	}
	return bytes.Compare(a.Key, b.Key) < 0
}

// watched is what a watch from a revision on must hand out.
func (m *model) watched(r *chainfire.WatchRequest, from int64) []chainfire.Event {
	var out []chainfire.Event
	for _, e := range m.events {
		if e.KV.ModRevision < from || !inRange(e.KV.Key, r.Key, r.RangeEnd) ||
			r.NoPut && e.Type == chainfire.EventPut || r.NoDelete && e.Type == chainfire.EventDelete {
			continue
		}
		out = append(out, e)
	}
	return out
}
