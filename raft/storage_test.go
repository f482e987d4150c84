package raft

import (
	"errors"
	"testing"
)

// memStorage is a log in memory that can be made to fail or to lie.
type memStorage struct {
	base, baseTerm uint64
	entries        []Entry
	err            error
	// empty answers every read with no entry and no error.
	empty bool
}

func (s *memStorage) FirstIndex() uint64 { return s.base + 1 }
func (s *memStorage) LastIndex() uint64  { return s.base + uint64(len(s.entries)) }

func (s *memStorage) Term(i uint64) (uint64, error) {
	switch {
	case i < s.base:
		return 0, ErrCompacted
	case i == s.base:
		return s.baseTerm, nil
	case i > s.LastIndex():
		return 0, ErrUnavailable
	}
	return s.entries[i-s.base-1].Term, nil
}

func (s *memStorage) Entries(lo, hi, maxBytes uint64) ([]Entry, error) {
	switch {
	case s.err != nil:
		return nil, s.err
	case s.empty:
		return nil, nil
	case lo <= s.base:
		return nil, ErrCompacted
	case hi > s.LastIndex()+1:
		return nil, ErrUnavailable
	}
	return limit(s.entries[lo-s.base-1:hi-s.base-1], maxBytes), nil
}

func (s *memStorage) write(es []Entry) {
	if len(es) > 0 {
		s.entries = append(s.entries[:es[0].Index-s.base-1:es[0].Index-s.base-1], es...)
	}
}

// entriesOf makes entries with the given terms from index on.
func entriesOf(index uint64, terms ...uint64) []Entry {
	es := make([]Entry, len(terms))
	for i, t := range terms {
		es[i] = Entry{Index: index + uint64(i), Term: t, Data: []byte{byte(t)}}
	}
	return es
}

var errDisk = errors.New("disk is on fire")

// solo is a member of its own with a storage to look into.
type solo struct {
	*Core
	t       *testing.T
	storage *memStorage
	sent    []Message
	reads   []ReadState
	applied []Entry
}

func newSolo(t *testing.T, cfg Config, s *memStorage) *solo {
	t.Helper()
	cfg.Storage, cfg.Checked = s, true
	cfg.Jitter = func(int) int { return 0 }
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &solo{Core: c, t: t, storage: s}
}

// ready carries out everything there is, at once.
func (s *solo) ready() {
	s.t.Helper()
	for {
		rd := s.Ready()
		s.sent = append(s.sent, rd.Messages...)
		s.reads = append(s.reads, rd.Reads...)
		s.applied = append(s.applied, rd.Committed...)
		if p := rd.Persist; p != nil {
			if p.Snapshot != nil {
				s.storage.base, s.storage.baseTerm, s.storage.entries = p.Snapshot.Index, p.Snapshot.Term, nil
			}
			s.storage.write(p.Entries)
			s.sent = append(s.sent, p.Messages...)
			s.Persisted(p.Seq)
		}
		if n := len(rd.Committed); n > 0 {
			s.Applied(rd.Committed[n-1].Index)
		}
		if rd.Persist == nil && len(rd.Committed)+len(rd.Messages)+len(rd.Reads) == 0 {
			return
		}
	}
}

// take returns and forgets the last message sent of a type.
func (s *solo) take(typ MessageType) Message {
	s.t.Helper()
	for i := len(s.sent) - 1; i >= 0; i-- {
		if m := s.sent[i]; m.Type == typ {
			s.sent = s.sent[:i]
			return m
		}
	}
	s.t.Fatalf("no message of type %d among %d", typ, len(s.sent))
	return Message{}
}

// leaderOfThree is member 1, leading 2 and 3 in term 2 with one entry of each
// term, both committed.
func leaderOfThree(t *testing.T, cfg Config) *solo {
	t.Helper()
	cfg.ID, cfg.Applied = 1, 1
	cfg.HardState = HardState{Term: 1, Commit: 1}
	cfg.Conf = ConfState{Voters: []uint64{1, 2, 3}}
	s := newSolo(t, cfg, &memStorage{entries: entriesOf(1, 1)})
	s.Campaign()
	s.ready()
	s.Step(Message{Type: MsgPreVoteResp, From: 2, To: 1, Term: 2})
	s.ready()
	s.Step(Message{Type: MsgVoteResp, From: 2, To: 1, Term: 2})
	s.ready()
	s.ack(2)
	if s.Role() != Leader || s.Commit() != 2 {
		t.Fatalf("%v with commit %d", s.Role(), s.Commit())
	}
	return s
}

// ack makes a follower acknowledge everything.
func (s *solo) ack(id uint64) {
	s.t.Helper()
	s.Step(Message{
		Type: MsgAppendResp, From: id, To: s.id, Term: s.Term(), Index: s.log.last(),
		Session: s.leader.progress[id].Session, Round: s.leader.round,
	})
	s.ready()
}
