package machine

import (
	"errors"
	"fmt"

	"chainfire"
	"chainfire/auth"
	"chainfire/mvcc"
	"chainfire/object"
	"chainfire/raft"
)

// Result is what became of one entry. Err is the reason that a command was
// refused, the same on every member; otherwise the answer to the command is
// set. Of the headers only the revision is filled in.
type Result struct {
	ID          RequestID
	Index, Term uint64
	Put         *chainfire.PutResponse
	Delete      *chainfire.DeleteRangeResponse
	Txn         *chainfire.TxnResponse
	Compact     *chainfire.CompactResponse
	GrantLease  *chainfire.LeaseGrantResponse
	RevokeLease *chainfire.LeaseRevokeResponse
	// MemberID answers a reservation, TokenID the making of a token.
	MemberID, TokenID uint64
	// Lease is the lease that was granted or revoked, or that could not be.
	Lease int64
	// Checkpoints are what was noted of leases.
	Checkpoints []LeaseCheckpoint
	// Alarms answers a SetAlarm.
	Alarms []chainfire.Alarm
	// Auth is the change of users and roles that was made, and Authenticated the token
	// that a user was given.
	Auth          *auth.Change
	Authenticated *Authenticate
	// Object answers a change of buckets and objects.
	Object *object.Result
	// Conf is the configuration in force after a membership change, be it
	// refused or not.
	Conf *raft.ConfState
	Err  error
}

// round is one round of applying.
type round struct {
	w       *mvcc.Writer
	cluster *cluster
	edited  bool
	// known is the highest feature level of this program.
	known uint64
	// sums are those of objects after each change of them.
	sums []objectSum
}

// Apply applies committed entries, which follow the last one applied, as one
// round: all of it becomes visible at once. It returns a result for every entry
// that is not empty, in order. An error is the member's, not a command's, and
// names the index where there is one: nothing of the round is applied, and the
// member must stop. The entries' data must never change. Applier only.
func (m *Machine) Apply(entries []raft.Entry) ([]Result, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	next := m.store.State().Applied + 1
	w, err := m.store.NewWriter()
	if err != nil {
		return nil, fmt.Errorf("apply from index %d: %w", next, err)
	}
	r := &round{w: w, cluster: m.cluster.Load(), known: m.known}
	results := make([]Result, 0, len(entries))
	for i := range entries {
		e := &entries[i]
		if e.Index != next {
			err = fmt.Errorf("entry %d comes where entry %d is next", e.Index, next)
		} else {
			results, err = r.apply(e, results)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("apply index %d: %w", e.Index, err), w.Abort())
		}
		next++
	}
	last := &entries[len(entries)-1]
	m.sums.add(r.sums) // before anybody sees that these are applied
	if err := w.Commit(last.Index, last.Term); err != nil {
		return nil, fmt.Errorf("apply up to index %d: %w", last.Index, err)
	}
	m.cluster.Store(r.cluster)
	return results, nil
}

// apply applies one entry and appends its result.
func (r *round) apply(e *raft.Entry, results []Result) ([]Result, error) {
	res := Result{Index: e.Index, Term: e.Term}
	var err error
	switch {
	case e.Type == raft.EntryConf:
		err = r.change(e, &res)
	case e.Type != raft.EntryNormal:
		return nil, fmt.Errorf("%w: entry of type %d", ErrNewer, e.Type)
	case len(e.Data) == 0:
		return results, nil
	default:
		var c Command
		if c, err = DecodeCommand(e.Data); err != nil {
			return nil, err
		}
		res.ID = c.ID
		err = r.command(&c, &res)
	}
	if reason, ok := refused(err); ok {
		res.Err, err = reason, nil
	}
	return append(results, res), err
}

// command performs one command.
func (r *round) command(c *Command, res *Result) (err error) {
	if err := r.alarmed(c); err != nil {
		return err
	}
	if err := r.permit(c); err != nil {
		return err
	}
	switch {
	case c.Put != nil:
		if err := r.checkPut(c.Put); err != nil {
			return err
		}
		res.Put, err = r.put(c.Put)
	case c.Delete != nil:
		if err := c.Delete.Validate(); err != nil {
			return refuse(err)
		}
		res.Delete, err = r.delete(c.Delete)
	case c.Txn != nil:
		res.Txn, err = r.txn(c.Txn)
	case c.Compact != nil:
		res.Compact, err = r.compact(c.Compact)
	case c.Reserve != nil:
		res.MemberID, err = r.reserve(res.Index, c.Reserve)
	case c.Release != nil:
		err = r.release(c.Release)
	case c.UpdateMember != nil:
		err = r.update(c.UpdateMember)
	case c.CreateToken != nil:
		res.TokenID, err = r.createToken(res.Index, c.CreateToken)
	case c.RevokeToken != nil:
		err = r.revokeToken(c.RevokeToken.ID)
	case c.RaiseLevel != nil:
		err = r.raiseLevel(c.RaiseLevel)
	case c.GrantLease != nil:
		res.Lease = c.GrantLease.ID
		res.GrantLease, err = r.grantLease(c.GrantLease)
	case c.RevokeLease != nil:
		res.Lease = c.RevokeLease.ID
		res.RevokeLease, err = r.revokeLease(res.Term, c.RevokeLease)
	case c.CheckpointLeases != nil:
		if err = r.checkpointLeases(res.Term, c.CheckpointLeases); err == nil {
			res.Checkpoints = c.CheckpointLeases.Leases
		}
	case c.SetAlarm != nil:
		res.Alarms, err = r.setAlarm(c.SetAlarm)
	case c.Auth != nil:
		if err = r.changeAuth(c.Auth); err == nil {
			res.Auth = c.Auth
		}
	case c.Authenticate != nil:
		if err = r.authenticate(c.Authenticate); err == nil {
			res.Authenticated = c.Authenticate
		}
	case c.Object != nil:
		res.Object, err = r.object(res.Index, c.Object)
	}
	r.w.EndTxn()
	return err
}

// checkPut refuses a put that cannot be performed as the store is.
func (r *round) checkPut(q *chainfire.PutRequest) error {
	if err := q.Validate(); err != nil {
		return refuse(err)
	}
	if err := r.checkLease(q.Lease); err != nil {
		return err
	}
	if !q.IgnoreValue && !q.IgnoreLease {
		return nil
	}
	_, found, err := r.w.Get(q.Key)
	if err == nil && !found {
		err = refuse(chainfire.ErrKeyNotFound)
	}
	return err
}

func (r *round) put(q *chainfire.PutRequest) (*chainfire.PutResponse, error) {
	value, lease := q.Value, q.Lease
	if q.IgnoreValue || q.IgnoreLease {
		kv, _, err := r.w.Get(q.Key)
		if err != nil {
			return nil, err
		}
		if q.IgnoreValue {
			value = kv.Value
		}
		if q.IgnoreLease {
			lease = kv.Lease
		}
	}
	prev, err := r.w.Put(q.Key, value, lease, q.PrevKV)
	if err != nil {
		return nil, err
	}
	return &chainfire.PutResponse{Header: r.header(), PrevKV: prev}, nil
}

func (r *round) delete(q *chainfire.DeleteRangeRequest) (*chainfire.DeleteRangeResponse, error) {
	n, prev, err := r.w.DeleteRange(q.Key, q.RangeEnd, q.PrevKV)
	if err != nil {
		return nil, err
	}
	return &chainfire.DeleteRangeResponse{Header: r.header(), Deleted: n, PrevKVs: prev}, nil
}

func (r *round) txn(q *chainfire.TxnRequest) (*chainfire.TxnResponse, error) {
	if err := q.Validate(); err != nil {
		return nil, refuse(err)
	}
	path, err := choose(r.w, q)
	if err != nil {
		return nil, err
	}
	if err := path.check(r.w, r.checkPut); err != nil {
		return nil, err
	}
	return path.run(r.w, r)
}

func (r *round) compact(q *chainfire.CompactRequest) (*chainfire.CompactResponse, error) {
	err := r.w.Compact(q.Revision)
	if errors.Is(err, chainfire.ErrCompacted) || errors.Is(err, chainfire.ErrFutureRevision) {
		return nil, refuse(err)
	}
	if err != nil {
		return nil, err
	}
	return &chainfire.CompactResponse{Header: r.header()}, nil
}

func (r *round) header() chainfire.Header { return chainfire.Header{Revision: r.w.Revision()} }
