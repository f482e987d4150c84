package machine

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"chainfire/internal/disk"
	"chainfire/raft"
	"chainfire/raft/confchange"
)

// openKnowing opens the machine with a program that knows a feature level.
func openKnowing(t fataler, fs FS, level uint64) *Machine {
	t.Helper()
	o := testOptions(fs)
	o.Level = level
	m, err := Open(o)
	if err != nil {
		t.Fatalf("open knowing level %d: %v", level, err)
	}
	return m
}

// startKnowing makes a machine of a program that knows a feature level.
func startKnowing(t fataler, level uint64) (*Machine, *disk.FaultFS) {
	t.Helper()
	fs := disk.NewFaultFS()
	if err := Bootstrap(testOptions(fs), testInit()); err != nil {
		t.Fatalf("bootstrap: %v", err)
	}
	return openKnowing(t, fs, level), fs
}

func says(id uint64, version string, level uint64) Command {
	return Command{UpdateMember: &UpdateMember{ID: id, Version: version, Level: level}}
}

func raise(level uint64) Command { return Command{RaiseLevel: &RaiseLevel{Level: level}} }

// mustDo applies a command that must not be refused.
func mustDo(t fataler, m *Machine, c Command) Result {
	t.Helper()
	res := do(t, m, c)
	if res.Err != nil {
		t.Fatalf("refused: %v", res.Err)
	}
	return res
}

func mustBeAt(t *testing.T, m *Machine, level, raisableTo uint64) {
	t.Helper()
	if got, to := m.Level(), m.RaisableTo(); got != level || to != raisableTo {
		t.Fatalf("the level is %d and may be raised to %d, not %d and %d", got, to, level, raisableTo)
	}
}

// TestLevelIsRaisedWhenEveryMemberKnowsIt tells the story of an upgrade. Who has not
// said what it knows, as a member that was added by hand, holds it back; who is only
// a reservation does not.
func TestLevelIsRaisedWhenEveryMemberKnowsIt(t *testing.T) {
	m, _ := startKnowing(t, 3)
	defer closeAll(t, m)
	refused := func(level uint64, why string) {
		t.Helper()
		before := m.Level()
		if res := do(t, m, raise(level)); !errors.Is(res.Err, ErrLevel) || !strings.Contains(res.Err.Error(), why) || m.Level() != before {
			t.Fatalf("raise to %d: %v, the level is %d", level, res.Err, m.Level())
		}
	}
	two := mustDo(t, m, reserve("two", "http://two", 22)).MemberID
	if res := change(t, m, one(confchange.AddLearner, two), nil); res.Err != nil {
		t.Fatal(res.Err)
	}
	mustDo(t, m, reserve("three", "http://three", 33))
	mustBeAt(t, m, 1, 1)
	refused(1, "it is 1")
	refused(0, "it is 1")
	refused(2, "member 1 knows 1")
	mustDo(t, m, says(1, "1.3.0", 3))
	refused(2, "member 2 knows 1")
	mustBeAt(t, m, 1, 1)
	mustDo(t, m, says(two, "1.2.0", 2))
	mustBeAt(t, m, 1, 2)
	refused(3, "member 2 knows 2")
	mustDo(t, m, raise(2))
	mustBeAt(t, m, 2, 2)
	refused(2, "it is 2")
	mustDo(t, m, says(two, "1.3.0", 3))
	mustDo(t, m, raise(3))
	mustBeAt(t, m, 3, 3)
}

func TestWhatAMemberSaysOfItsProgramIsBounded(t *testing.T) {
	m, _ := start(t)
	defer closeAll(t, m)
	c := says(1, strings.Repeat("1", MaxVersionLen+1), 1)
	if err := c.Validate(); !errors.Is(err, ErrBadMember) {
		t.Errorf("valid: %v", err)
	}
	if res := do(t, m, c); !errors.Is(res.Err, ErrBadMember) || memberRecord(t, m, 1).Version != "" {
		t.Errorf("%v, %+v", res.Err, memberRecord(t, m, 1))
	}
	mustDo(t, m, says(1, "1.0.0", 1))
	mustDo(t, m, Command{UpdateMember: &UpdateMember{ID: 1, Name: "uno"}})
	if r := memberRecord(t, m, 1); r.Version != "1.0.0" || r.Level != 1 || r.Name != "uno" {
		t.Errorf("an update that does not name them: %+v", r)
	}
}

// raised is a machine whose cluster reached level 2 with version 1.2.0 and newer.
func raised(t *testing.T) (*Machine, *disk.FaultFS) {
	t.Helper()
	m, fs := startKnowing(t, 2)
	mustDo(t, m, says(1, "1.10.0", 2))
	change(t, m, one(confchange.AddLearner, 5), &MemberRecord{ID: 5, PeerURLs: []string{"http://five"}, Version: "1.2.0", Level: 2})
	mustDo(t, m, raise(2))
	return m, fs
}

func TestLevelSurvivesARestartAndAnOlderProgramIsRefused(t *testing.T) {
	m, fs := raised(t)
	closeAll(t, m)
	o := testOptions(fs)
	o.Level = 1
	const want = "the cluster is at feature level 2, this program knows 1: install version 1.2.0 or newer"
	if m, err := Open(o); m != nil || !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), want) {
		t.Fatalf("%v", err)
	}
	m = openKnowing(t, fs, 2)
	mustBeAt(t, m, 2, 2)
	closeAll(t, m)
	m = openKnowing(t, fs, 3)
	mustBeAt(t, m, 2, 2)
	closeAll(t, m)
}

func TestLevelIsInASnapshotAndAnOlderProgramDoesNotTakeIt(t *testing.T) {
	m, fs := raised(t)
	defer closeAll(t, m)
	for _, dir := range []string{"saved", "again"} {
		if _, err := m.Checkpoint(context.Background(), dir); err != nil {
			t.Fatal(err)
		}
	}
	if _, cluster, err := CheckpointMeta(fs, "saved"); err != nil || cluster != m.ClusterID() {
		t.Fatalf("what it holds can be told by anyone: %v", err)
	}
	behind := func(level uint64, dir string) (*Machine, error) {
		o := testOptions(fs)
		o.Dir, o.Level = dir+"-behind", level
		if err := Bootstrap(o, testInit()); err != nil {
			t.Fatal(err)
		}
		m, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		return m, m.Restore(dir)
	}
	old, err := behind(1, "saved")
	if !errors.Is(err, ErrNewer) || old.Level() != 1 {
		t.Errorf("an older program: %v, level %d", err, old.Level())
	}
	fit, err := behind(2, "again")
	if err != nil || fit.Level() != 2 {
		t.Errorf("restore: %v, level %d", err, fit.Level())
	}
	closeAll(t, old, fit)
}

// TestProgramThatKnowsLessStopsWhereTheLevelIsRaised is about one that was put back
// after its record said more: it must not go on, and what came before stays.
func TestProgramThatKnowsLessStopsWhereTheLevelIsRaised(t *testing.T) {
	m, _ := start(t)
	defer closeAll(t, m)
	mustDo(t, m, says(1, "1.2.0", FeatureLevel+1))
	applied, _ := m.Applied()
	res, err := m.Apply([]raft.Entry{entry(applied+1, raise(FeatureLevel+1))})
	if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "install version 1.2.0 or newer") || res != nil {
		t.Errorf("%+v, %v", res, err)
	}
	if now, _ := m.Applied(); now != applied || m.Level() != 1 {
		t.Errorf("applied %d, level %d", now, m.Level())
	}
}

// TestLevelRowThatMakesNoSenseIsMalformed: 1 is said by leaving the row out.
func TestLevelRowThatMakesNoSenseIsMalformed(t *testing.T) {
	for _, value := range [][]byte{nil, {2}, encodeLevel(0), encodeLevel(1)} {
		rows := testCluster().rows()
		rows = append(rows, testCluster().rows()[0])
		rows[len(rows)-1].Name, rows[len(rows)-1].Value = rowLevel, value
		if _, err := loadCluster(rows, anyLevel); !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: %v", value, err)
		}
	}
}

func testCluster() *cluster {
	i := testInit()
	return &cluster{id: i.ClusterID, conf: i.Conf, members: i.Members, removed: map[uint64]struct{}{}}
}

func TestVersionToInstallIsTheLowestThatKnowsTheLevel(t *testing.T) {
	members := []MemberRecord{
		{ID: 1, Version: "v1.10.0", Level: 4}, {ID: 2, Version: "1.9.3", Level: 4}, {ID: 3, Version: "1.1.0", Level: 3}, {ID: 4, Level: 4},
	}
	for level, want := range map[uint64]string{4: "version 1.9.3 or", 3: "version 1.1.0 or", 5: "the version of the other members or"} {
		if err := tooNew(level, 2, members); !strings.Contains(err.Error(), "install "+want) {
			t.Errorf("level %d: %v", level, err)
		}
	}
}

// TestLevelIsTheSameHoweverItsEntriesAreCutIntoRounds holds any order of words of
// members and attempts to raise against a model, and against a second machine that
// applies all of it in one round and is opened again.
func TestLevelIsTheSameHoweverItsEntriesAreCutIntoRounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, _ := startKnowing(t, 9)
		other, fs := startKnowing(t, 9)
		two := mustDo(t, m, reserve("two", "http://two", 22)).MemberID
		entries := []raft.Entry{entry(2, reserve("two", "http://two", 22))}
		level, knows := uint64(1), map[uint64]uint64{1: 0}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			index := uint64(len(entries) + 2)
			n := rapid.Uint64Range(1, 9).Draw(t, "level")
			id := rapid.SampledFrom([]uint64{1, two}).Draw(t, "member")
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				add := one(confchange.AddLearner, two)
				entries = append(entries, raft.Entry{Index: index, Term: 1, Type: raft.EntryConf, Data: raft.EncodeChange(add)})
				knows[two] = memberRecord(t, m, two).Level
			case 1:
				entries = append(entries, entry(index, says(id, "1.0.0", n)))
				if _, counts := knows[id]; counts {
					knows[id] = n
				}
			default:
				entries = append(entries, entry(index, raise(n)))
				if n > level && !slices.ContainsFunc(slices.Collect(maps.Values(knows)), func(k uint64) bool { return k < n }) {
					level = n
				}
			}
			if _, err := m.Apply(entries[len(entries)-1:]); err != nil {
				t.Fatal(err)
			}
			if m.Level() != level {
				t.Fatalf("the level is %d, not %d; members know %v", m.Level(), level, knows)
			}
		}
		if _, err := other.Apply(entries); err != nil {
			t.Fatal(err)
		}
		closeAll(t, other)
		other = openKnowing(t, fs, 9)
		if d := diff(m.Members(), other.Members()); other.Level() != level || d != "" {
			t.Fatalf("in one round the level is %d, not %d: %s", other.Level(), level, d)
		}
		closeAll(t, m, other)
	})
}

func TestNewClusterOfAnOldStateKeepsItsLevel(t *testing.T) {
	m, fs := raised(t)
	err := m.Refound(Refounding{ClusterID: 8, Member: MemberRecord{ID: 100, Name: "one"}, Index: 100, Term: 9})
	if err != nil {
		t.Fatal(err)
	}
	mustBeAt(t, m, 2, 2)
	closeAll(t, m)
	m = openKnowing(t, fs, 2)
	mustBeAt(t, m, 2, 2)
	closeAll(t, m)
}
