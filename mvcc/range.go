package mvcc

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"chainfire"
)

// View is the key space pinned at one revision. Its methods may be called from
// one goroutine at a time; the caller closes it soon, because it keeps what it
// sees from being cleaned up.
type View struct {
	s         *Store
	eng       *engine
	snap      *pebble.Snapshot
	rev       int64
	compacted int64
}

// View pins the key space at its current revision. Any goroutine.
func (s *Store) View() (*View, error) {
	for {
		e, st, err := s.acquire()
		if err != nil {
			return nil, err
		}
		v := &View{s: s, eng: e, snap: e.db.NewSnapshot(), rev: st.Revision}
		// Physical compaction follows the compacted revision. While that does
		// not exceed what was pinned, nothing that the view needs is gone.
		if v.compacted = s.State().Compacted; v.compacted <= v.rev {
			return v, nil
		}
		if err := v.Close(); err != nil {
			return nil, err
		}
	}
}

// ExactView pins what the last round left, with its state: leases too, which View may
// have of a later round than the keys. It may show what no reader was shown yet. Any
// goroutine.
func (s *Store) ExactView() (*View, State, error) {
	e, _, err := s.acquire()
	if err != nil {
		return nil, State{}, err
	}
	v := &View{s: s, eng: e, snap: e.db.NewSnapshot()}
	row, ok, err := getRow(v.snap, metaRow(stateName))
	if err == nil && !ok {
		err = errNoState
	}
	st := State{}
	if err == nil {
		st, err = parseState(row)
	}
	if err != nil {
		return nil, State{}, errors.Join(err, v.Close())
	}
	v.rev, v.compacted = st.Revision, st.Compacted
	return v, st, nil
}

// Close lets go of what the view pinned.
func (v *View) Close() error {
	err := v.snap.Close()
	v.s.release(v.eng)
	if err != nil {
		return fmt.Errorf("close view: %w", err)
	}
	return nil
}

// Revision is the revision that the view is pinned at.
func (v *View) Revision() int64 { return v.rev }

// CompactRevision is the compacted revision as the view sees it.
func (v *View) CompactRevision() int64 { return v.compacted }

// Range reads one key or an interval. Only Header.Revision of the answer is
// filled in. It returns ErrCompacted or ErrFutureRevision for a revision out of
// reach.
func (v *View) Range(ctx context.Context, r *chainfire.RangeRequest) (*chainfire.RangeResponse, error) {
	rev, err := readRevision(r.Revision, v.rev, v.compacted)
	if err != nil {
		return nil, err
	}
	return rangeAt(ctx, v.snap, r, rev, v.rev)
}

// Range reads one key or an interval at its current or an older revision. Only
// Header.Revision of the answer is filled in. Any goroutine; writes go on
// meanwhile and do not show.
func (s *Store) Range(ctx context.Context, r *chainfire.RangeRequest) (*chainfire.RangeResponse, error) {
	for {
		e, st, err := s.acquire()
		if err != nil {
			return nil, err
		}
		resp, retry, err := s.tryRange(ctx, e, st, r)
		s.release(e)
		if !retry {
			return resp, err
		}
	}
}

// tryRange reads with iterators opened after st was. It asks for another try
// when a compaction overtook the current revision that it meant to read.
func (s *Store) tryRange(ctx context.Context, e *engine, st State, r *chainfire.RangeRequest) (resp *chainfire.RangeResponse, retry bool, err error) {
	rev, err := readRevision(r.Revision, st.Revision, st.Compacted)
	if err != nil {
		return nil, false, err
	}
	c, err := openWalk(ctx, e.db, newInterval(r.Key, r.RangeEnd), rev)
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	// What the iterator was opened on is complete for rev if rev is not
	// compacted even now; see View.
	if now := s.State().Compacted; rev < now {
		if r.Revision > 0 {
			return nil, false, chainfire.ErrCompacted
		}
		return nil, true, nil
	}
	resp, err = collect(c, r)
	if err != nil {
		return nil, false, err
	}
	resp.Header.Revision = st.Revision
	return resp, false, nil
}

// readRevision is the revision that a request reads.
func readRevision(asked, current, compacted int64) (int64, error) {
	switch {
	case asked <= 0:
		return current, nil
	case asked > current:
		return 0, chainfire.ErrFutureRevision
	case asked < compacted:
		return 0, chainfire.ErrCompacted
	}
	return asked, nil
}

// rangeAt answers a range from pinned state.
func rangeAt(ctx context.Context, pinned pebble.Reader, r *chainfire.RangeRequest, rev, header int64) (resp *chainfire.RangeResponse, err error) {
	c, err := openWalk(ctx, pinned, newInterval(r.Key, r.RangeEnd), rev)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	resp, err = collect(c, r)
	if err != nil {
		return nil, err
	}
	resp.Header.Revision = header
	return resp, nil
}

// collect builds the answer to a range from a walk over its keys. What it holds
// in memory is bounded by the limit, if there is one.
func collect(w walker, r *chainfire.RangeRequest) (*chainfire.RangeResponse, error) {
	resp := &chainfire.RangeResponse{}
	if r.CountOnly {
		n, err := w.rest()
		resp.Count = n
		return resp, err
	}
	order := sortFunc(r)
	for w.next() {
		key, v := w.entry()
		resp.Count++
		if !inFilter(r, v) {
			continue
		}
		if order == nil && r.Limit > 0 && int64(len(resp.KVs)) == r.Limit {
			resp.More = true
			n, err := w.rest()
			resp.Count += n
			if err != nil {
				return nil, err
			}
			return resp, nil
		}
		resp.KVs = append(resp.KVs, copyOut(key, v, r))
		if order != nil && r.Limit > 0 && int64(len(resp.KVs))/2 > r.Limit {
			resp.More = true
			slices.SortStableFunc(resp.KVs, order)
			clear(resp.KVs[r.Limit:])
			resp.KVs = resp.KVs[:r.Limit]
		}
	}
	if err := w.err(); err != nil {
		return nil, err
	}
	if order != nil {
		slices.SortStableFunc(resp.KVs, order)
	}
	if r.Limit > 0 && int64(len(resp.KVs)) > r.Limit {
		resp.More = true
		resp.KVs = resp.KVs[:r.Limit]
	}
	if r.KeysOnly {
		for i := range resp.KVs {
			resp.KVs[i].Value = nil
		}
	}
	return resp, nil
}

// inFilter applies the revision bounds of a request.
func inFilter(r *chainfire.RangeRequest, v *version) bool {
	mod, create := v.rev.Main, v.create
	return (r.MinModRevision == 0 || mod >= r.MinModRevision) &&
		(r.MaxModRevision == 0 || mod <= r.MaxModRevision) &&
		(r.MinCreateRevision == 0 || create >= r.MinCreateRevision) &&
		(r.MaxCreateRevision == 0 || create <= r.MaxCreateRevision)
}

// copyOut copies what a walk is at, without the value if no one will see it. As etcd
// does since 3.7, it leaves out the lease with it.
func copyOut(key []byte, v *version, r *chainfire.RangeRequest) chainfire.KeyValue {
	kv := v.keyValue(key)
	if r.KeysOnly && r.SortTarget != chainfire.SortByValue {
		kv.Value, kv.Lease = nil, 0
	}
	return cloneKeyValue(kv)
}

// cloneKeyValue copies a key and its value into one allocation.
func cloneKeyValue(kv chainfire.KeyValue) chainfire.KeyValue {
	buf := make([]byte, 0, len(kv.Key)+len(kv.Value))
	buf = append(append(buf, kv.Key...), kv.Value...)
	n := len(kv.Key)
	kv.Key = buf[:n:n]
	kv.Value = buf[n:]
	return kv
}

// sortFunc is the order a request asks for, nil for the order of the keys.
func sortFunc(r *chainfire.RangeRequest) func(a, b chainfire.KeyValue) int {
	var by func(a, b *chainfire.KeyValue) int
	switch r.SortTarget {
	case chainfire.SortByVersion:
		by = func(a, b *chainfire.KeyValue) int { return cmp.Compare(a.Version, b.Version) }
	case chainfire.SortByCreate:
		by = func(a, b *chainfire.KeyValue) int { return cmp.Compare(a.CreateRevision, b.CreateRevision) }
	case chainfire.SortByMod:
		by = func(a, b *chainfire.KeyValue) int { return cmp.Compare(a.ModRevision, b.ModRevision) }
	case chainfire.SortByValue:
		by = func(a, b *chainfire.KeyValue) int { return bytes.Compare(a.Value, b.Value) }
	default:
		if r.SortOrder != chainfire.SortDescend {
			return nil
		}
		by = func(a, b *chainfire.KeyValue) int { return bytes.Compare(a.Key, b.Key) }
	}
	if r.SortOrder == chainfire.SortDescend {
		return func(a, b chainfire.KeyValue) int { return by(&b, &a) }
	}
	return func(a, b chainfire.KeyValue) int { return by(&a, &b) }
}
