package auth

import (
	"bytes"
	"slices"
	"sort"

	"chainfire"
)

// Identity is who asks, as the member that was asked has found out: a user, and the
// revision at which that was so. The zero value is nobody.
type Identity struct {
	User     string
	Revision uint64
}

// PermitRead returns nil if a user may read all keys of an interval, or everyone may:
// else chainfire.ErrUserEmpty, ErrAuthOldRevision or ErrPermissionDenied.
func (s *State) PermitRead(id Identity, key, end []byte) error { return s.permit(id, key, end, false) }

// PermitWrite is PermitRead for writes.
func (s *State) PermitWrite(id Identity, key, end []byte) error { return s.permit(id, key, end, true) }

// WritableFrom is PermitWrite of a key, with how far all keys behind it may be written as
// well: up to end, nil being all.
func (s *State) WritableFrom(id Identity, key []byte) (end []byte, err error) {
	if err := s.PermitWrite(id, key, nil); err != nil || !s.enabled {
		return nil, err
	}
	u := s.users[id.User]
	if u.HasRole(chainfire.AuthRoot) {
		return nil, nil
	}
	l := s.spans(u).write
	return l[at(l, key)].end, nil
}

// PermitAdmin returns nil if a user has the role root, or authentication is not enabled:
// else chainfire.ErrUserEmpty, ErrUserNotFound or ErrPermissionDenied.
func (s *State) PermitAdmin(id Identity) error {
	if !s.enabled {
		return nil
	}
	if id.User == "" {
		return chainfire.ErrUserEmpty
	}
	u, ok := s.users[id.User]
	switch {
	case !ok:
		return chainfire.ErrUserNotFound
	case !u.HasRole(chainfire.AuthRoot):
		return chainfire.ErrPermissionDenied
	}
	return nil
}

func (s *State) permit(id Identity, key, end []byte, write bool) error {
	if !s.enabled {
		return nil
	}
	if id.Revision == 0 {
		return chainfire.ErrUserEmpty
	}
	if id.Revision < s.revision {
		return chainfire.ErrAuthOldRevision
	}
	u, ok := s.users[id.User]
	if !ok {
		return chainfire.ErrPermissionDenied
	}
	if u.HasRole(chainfire.AuthRoot) || s.spans(u).covers(key, end, write) {
		return nil
	}
	return chainfire.ErrPermissionDenied
}

// span is the keys from begin up to end; a nil end is beyond all keys.
type span struct{ begin, end []byte }

// userSpans are what a user may read and write: sorted, none touching the next.
type userSpans struct{ read, write []span }

// spans merges what the roles of a user permit, once for each state.
func (s *State) spans(u *User) *userSpans {
	if m, ok := s.merged.Load(u.Name); ok {
		return m.(*userSpans)
	}
	out := &userSpans{}
	for _, name := range u.Roles {
		r, ok := s.roles[name]
		if !ok {
			continue
		}
		for _, p := range r.Permissions {
			sp := spanOf(p.Key, p.RangeEnd)
			if p.Type != chainfire.PermitWrite {
				out.read = append(out.read, sp)
			}
			if p.Type != chainfire.PermitRead {
				out.write = append(out.write, sp)
			}
		}
	}
	out.read, out.write = merge(out.read), merge(out.write)
	s.merged.Store(u.Name, out)
	return out
}

func openEnd(end []byte) bool { return len(end) == 1 && end[0] == 0 }

func spanOf(key, end []byte) span {
	switch {
	case len(end) == 0:
		return span{key, append(slices.Clip(slices.Clone(key)), 0)}
	case openEnd(end):
		return span{key, nil}
	}
	return span{key, end}
}

// compareEnds orders ends; nil is the last.
func compareEnds(a, b []byte) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return bytes.Compare(a, b)
}

func merge(l []span) []span {
	slices.SortFunc(l, func(a, b span) int { return bytes.Compare(a.begin, b.begin) })
	out := l[:0]
	for _, s := range l {
		if n := len(out); n > 0 && (out[n-1].end == nil || bytes.Compare(s.begin, out[n-1].end) <= 0) {
			if compareEnds(s.end, out[n-1].end) > 0 {
				out[n-1].end = s.end
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

// at is the last of the spans that begins at a key or before it; -1 is none.
func at(l []span, key []byte) int {
	return sort.Search(len(l), func(i int) bool { return bytes.Compare(l[i].begin, key) > 0 }) - 1
}

// covers reports whether all keys of an interval are in one span: between two that do not
// touch there is always a key that is in neither.
func (m *userSpans) covers(key, end []byte, write bool) bool {
	l := m.read
	if write {
		l = m.write
	}
	want := spanOf(key, end)
	i := at(l, want.begin)
	// An interval that holds no key, as its end is not behind its begin, has to be inside.
	return i >= 0 && compareEnds(want.end, l[i].end) <= 0 && compareEnds(want.begin, l[i].end) < 0 &&
		(want.end == nil || bytes.Compare(l[i].begin, want.end) < 0)
}
