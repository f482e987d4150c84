package machine

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"chainfire/internal/record"
	"chainfire/mvcc"
)

// FeatureLevel is what this program applies and writes. Raise it by one with the
// first change, since a release, of what the log, a snapshot or a row may hold, and
// write the new thing only where Machine.Level has reached the new number: until
// then there is a member that would stop at it.
const FeatureLevel uint64 = 2

// ErrLevel refuses to raise the cluster's feature level: to what it is already, or
// above what some member knows.
var ErrLevel = errors.New("the feature level cannot be raised")

// RaiseLevel raises the feature level of the cluster. It is refused with ErrLevel
// unless Level is above the present one and known to every member that is not a
// reservation. A member whose program knows less, whatever its record says, stops
// with ErrNewer.
type RaiseLevel struct {
	Level uint64
}

// rowLevel holds the feature level; without it the level is firstLevel.
const rowLevel = "level"

const firstLevel uint64 = 1

func messageRaiseLevel() record.Message { return record.New("raise level", record.Number) }

func decodeRaiseLevel(b []byte) (*RaiseLevel, error) {
	r := &RaiseLevel{}
	m := messageRaiseLevel()
	return r, m.Read(b, func(x record.Field) error {
		r.Level = x.N
		return nil
	})
}

func encodeLevel(level uint64) []byte { return binary.BigEndian.AppendUint64(nil, level) }

func (c *cluster) loadLevel(row mvcc.MetaRow) error {
	if len(row.Value) != 8 {
		return fmt.Errorf("%w: level row of %d bytes", ErrMalformed, len(row.Value))
	}
	if c.level = binary.BigEndian.Uint64(row.Value); c.level <= firstLevel {
		return fmt.Errorf("%w: level row says %d", ErrMalformed, c.level)
	}
	return nil
}

// anyLevel is the level of a reader that leaves it to others to refuse.
const anyLevel uint64 = math.MaxUint64

// checkLevel refuses rows of a cluster above the level that is known here. It comes
// before everything else is read from them: what a newer program wrote may be
// unreadable, and this says why.
func checkLevel(rows []mvcc.MetaRow, known uint64) error {
	i := slices.IndexFunc(rows, func(r mvcc.MetaRow) bool { return r.Name == rowLevel })
	if i < 0 {
		return nil
	}
	c := &cluster{removed: map[uint64]struct{}{}}
	if err := c.loadLevel(rows[i]); err != nil {
		return fmt.Errorf("read row %q: %w", rowLevel, err)
	}
	if c.level <= known {
		return nil
	}
	for _, row := range rows {
		if strings.HasPrefix(row.Name, rowMember) {
			_ = c.load(row) // one that cannot be read has no say in which version to install
		}
	}
	return tooNew(c.level, known, c.members)
}

// tooNew says that a program is too old for a cluster, and which version is not.
func tooNew(level, known uint64, members []MemberRecord) error {
	version := ""
	for i := range members {
		m := &members[i]
		if m.Level >= level && m.Version != "" && (version == "" || compareVersions(m.Version, version) < 0) {
			version = m.Version
		}
	}
	install := "the version of the other members"
	if version != "" {
		install = "version " + version
	}
	return fmt.Errorf("%w: the cluster is at feature level %d, this program knows %d: install %s or newer", ErrNewer, level, known, install)
}

// compareVersions compares two versions number by number. A part that is no number
// counts as none.
func compareVersions(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		if c := cmp.Compare(part(as, i), part(bs, i)); c != 0 {
			return c
		}
	}
	return cmp.Compare(a, b)
}

func part(parts []string, i int) int {
	if i >= len(parts) {
		return -1
	}
	n, err := strconv.Atoi(strings.TrimPrefix(parts[i], "v"))
	if err != nil {
		return -1
	}
	return n
}

// Level is the feature level of the cluster: nothing that needs a higher one may be
// written. Any goroutine.
func (m *Machine) Level() uint64 { return m.cluster.Load().featureLevel() }

// RaisableTo is the highest level that every member knows that is not a
// reservation, or the present one if none is above it. A member that has not said
// what it knows, as one that has not started, knows the first. Any goroutine.
func (m *Machine) RaisableTo() uint64 {
	c := m.cluster.Load()
	lowest := anyLevel
	for i := range c.members {
		if !c.members[i].Reserved {
			lowest = min(lowest, c.members[i].Level)
		}
	}
	if lowest == anyLevel {
		return c.featureLevel()
	}
	return max(lowest, c.featureLevel())
}

func (c *cluster) featureLevel() uint64 { return max(c.level, firstLevel) }

// raiseLevel raises the level where every member knows the new one.
func (r *round) raiseLevel(q *RaiseLevel) error {
	if present := r.cluster.featureLevel(); q.Level <= present {
		return refuse(fmt.Errorf("%w: to %d: it is %d", ErrLevel, q.Level, present))
	}
	for i := range r.cluster.members {
		if m := &r.cluster.members[i]; !m.Reserved && m.Level < q.Level {
			return refuse(fmt.Errorf("%w: to %d: member %d knows %d", ErrLevel, q.Level, m.ID, max(m.Level, firstLevel)))
		}
	}
	if q.Level > r.known {
		// Not a refusal: the others go on with what this one does not know.
		return tooNew(q.Level, r.known, r.cluster.members)
	}
	r.editing().level = q.Level
	return r.w.SetMeta(rowLevel, encodeLevel(q.Level))
}

// Level is the feature level from which on the log may hold the command, its caller and its
// leases aside.
func (c *Command) Level() uint64 {
	switch {
	case c.GrantLease != nil, c.RevokeLease != nil, c.CheckpointLeases != nil:
		return LeaseLevel
	case c.SetAlarm != nil:
		return AlarmLevel
	case c.Auth != nil, c.Authenticate != nil:
		return AuthLevel
	case c.Object != nil:
		return ObjectLevel
	}
	return firstLevel
}

// checkMemberVersion bounds what a member says of its program.
func checkMemberVersion(version string) error {
	if len(version) > MaxVersionLen {
		return fmt.Errorf("%w: a version of %d bytes, at most %d", ErrBadMember, len(version), MaxVersionLen)
	}
	return nil
}
