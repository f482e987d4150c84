package etcdfile_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"chainfire"
	"chainfire/etcdfile"
	"chainfire/mvcc"
)

// fileOf writes a file of some keys, with the checksum that a server adds. change, if
// set, is done to the database before.
func fileOf(t *testing.T, keys int, change func(*bbolt.Tx) error) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "snapshot.db")
	if err := etcdfile.Write(t.Context(), path, etcdfile.State{View: viewOf(t, keys), Applied: 21, Term: 3}); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Update(change), db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	if err := os.WriteFile(path, append(b, sum[:]...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// readAll reads everything in a file, and returns how many versions it has.
func readAll(ctx context.Context, o etcdfile.OpenOptions) (f *etcdfile.File, versions int, err error) {
	f, err = etcdfile.Open(ctx, o)
	if err != nil {
		return nil, 0, err
	}
	err = f.Versions(ctx, func(*mvcc.Version) error {
		versions++
		return nil
	})
	_, lerr := f.Leases()
	_, aerr := f.Alarms()
	_, uerr := f.Auth()
	return f, versions, errors.Join(err, lerr, aerr, uerr, f.Close())
}

func TestFileIsReadAsItWasWritten(t *testing.T) {
	const keys = 300
	f, n, err := readAll(t.Context(), etcdfile.OpenOptions{Path: fileOf(t, keys, nil)})
	if err != nil {
		t.Fatal(err)
	}
	if n != keys || !f.Hashed || f.Version != etcdfile.StorageVersion || f.Applied != 21 || f.Term != 3 ||
		f.Revision != keys+1 || f.Compacted != mvcc.NeverCompacted {
		t.Errorf("%d versions of %+v", n, *f)
	}
}

func revisionRow(main int64) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(main))
	return append(append(b, '_'), make([]byte, 8)...)
}

// TestFileSaysWhereItsRevisionsStand: a compaction may have been under way, and etcdutl
// marks by a row without a key how far it moved the revision on.
func TestFileSaysWhereItsRevisionsStand(t *testing.T) {
	for name, c := range map[string]struct {
		change                        func(*bbolt.Tx) error
		revision, compacted, versions int64
	}{
		"a compaction is done": {func(tx *bbolt.Tx) error {
			return errors.Join(tx.Bucket([]byte("meta")).Put([]byte("finishedCompactRev"), revisionRow(5)), tx.Bucket([]byte("meta")).Put([]byte("scheduledCompactRev"), revisionRow(5)))
		}, 11, 5, 10},
		"the next is not": {func(tx *bbolt.Tx) error {
			return errors.Join(tx.Bucket([]byte("meta")).Put([]byte("finishedCompactRev"), revisionRow(5)), tx.Bucket([]byte("meta")).Put([]byte("scheduledCompactRev"), revisionRow(8)))
		}, 11, 8, 10},
		"the last revision was compacted away": {func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("meta")).Put([]byte("scheduledCompactRev"), revisionRow(12))
		}, 12, 12, 10},
		"the revision was moved on": {func(tx *bbolt.Tx) error {
			return errors.Join(tx.Bucket([]byte("key")).Put(revisionRow(1011), nil), tx.Bucket([]byte("meta")).Put([]byte("scheduledCompactRev"), revisionRow(1011)))
		}, 1011, 1011, 10},
	} {
		f, n, err := readAll(t.Context(), etcdfile.OpenOptions{Path: fileOf(t, 10, c.change)})
		if err != nil || f.Revision != c.revision || f.Compacted != c.compacted || int64(n) != c.versions {
			t.Errorf("%s: %d versions of %+v, %v", name, n, f, err)
		}
	}
}

func TestFileHasAlarmsUsersAndRoles(t *testing.T) {
	alarm, err := proto.Marshal(&pb.AlarmMember{MemberID: 7, Alarm: pb.AlarmType_CORRUPT})
	if err != nil {
		t.Fatal(err)
	}
	k := []byte("k")
	user, uerr := proto.Marshal(&authpb.User{Name: []byte("root"), Password: []byte("hash"), Roles: []string{"root", "r"}})
	// What etcd makes of an interval that is granted again, and of a type that there is not.
	role, rerr := proto.Marshal(&authpb.Role{Name: []byte("r"), KeyPermission: []*authpb.Permission{
		{Key: k, RangeEnd: []byte("z")}, {Key: k}, {PermType: authpb.Permission_WRITE, Key: k, RangeEnd: []byte("z")}, {PermType: 256, Key: []byte("x")},
	}})
	if err := errors.Join(uerr, rerr); err != nil {
		t.Fatal(err)
	}
	path := fileOf(t, 1, func(tx *bbolt.Tx) error {
		return errors.Join(tx.Bucket([]byte("alarm")).Put(alarm, nil), tx.Bucket([]byte("auth")).Put([]byte("authEnabled"), []byte{1}),
			tx.Bucket([]byte("auth")).Put([]byte("authRevision"), []byte{0, 0, 0, 0, 0, 0, 1, 2}),
			tx.Bucket([]byte("authUsers")).Put([]byte("root"), user), tx.Bucket([]byte("authRoles")).Put([]byte("r"), role))
	})
	f, err := etcdfile.Open(t.Context(), etcdfile.OpenOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	alarms, aerr := f.Alarms()
	users, uerr := f.Auth()
	if err := errors.Join(aerr, uerr, f.Close()); err != nil {
		t.Fatal(err)
	}
	if len(alarms) != 1 || alarms[0] != (chainfire.Alarm{MemberID: 7, Type: chainfire.AlarmCorrupt}) {
		t.Errorf("alarms %v", alarms)
	}
	u, _ := users.User("root")
	r, _ := users.Role("r")
	if !users.Enabled() || users.Revision() != 0x102 || u == nil || string(u.Hash) != "hash" || !slices.Equal(u.Roles, []string{"r", "root"}) {
		t.Errorf("enabled %v at %d, root %+v", users.Enabled(), users.Revision(), u)
	}
	if want := []chainfire.Permission{{Key: k}, {Type: chainfire.PermitReadWrite, Key: k, RangeEnd: []byte("z")}}; r == nil || !reflect.DeepEqual(r.Permissions, want) {
		t.Errorf("role %+v", r)
	}
}

func TestFileThatSaysNonsenseIsRefused(t *testing.T) {
	put := func(table, key string, value []byte) func(*bbolt.Tx) error {
		return func(tx *bbolt.Tx) error { return tx.Bucket([]byte(table)).Put([]byte(key), value) }
	}
	for name, c := range map[string]struct {
		change func(*bbolt.Tx) error
		want   string
	}{
		"a newer format":          {put("meta", "storageVersion", []byte("3.8.0")), "reads those up to 3.7"},
		"an index of 3 bytes":     {put("meta", "consistent_index", []byte("abc")), "consistent_index has 3 bytes"},
		"a compaction of nothing": {put("meta", "scheduledCompactRev", []byte("abc")), "scheduledCompactRev: 616263 is no revision"},
		"a last row of nothing":   {put("key", "\xff", nil), "the last row of the keys: ff is no revision"},
		"a row of nothing":        {put("key", "\x00", nil), "a row of the keys: 00 is no revision"},
		"no message":              {put("key", string(revisionRow(3)), []byte{0xff}), "revision 3.0: "},
		"another revision":        {put("key", string(revisionRow(3)), []byte("\x0a\x01k\x18\x09")), "revision 3.0 says that it is of revision 9"},
		"no key":                  {put("key", string(revisionRow(3)), nil), "revision 3.0 has no key"},
		"no lease":                {put("lease", "\x00\x00\x00\x00\x00\x00\x00\x05", []byte{0xff}), "lease 0000000000000005: "},
		"another lease":           {put("lease", "\x00\x00\x00\x00\x00\x00\x00\x05", []byte{8, 6, 16, 9}), "it says that it is lease 6"},
		"an alarm of no type":     {put("alarm", "\x08\x01\x10\x09", nil), "is of type 9"},
		"not of etcd":             {func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("meta")) }, "no file of etcd"},
	} {
		path := fileOf(t, 5, c.change)
		if _, _, err := readAll(t.Context(), etcdfile.OpenOptions{Path: path}); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestNoDamageEndsTheProcess changes bytes of a file whose checksum is not looked at: it
// is refused, or read, and nothing else. bbolt maps the file, and would run out of it.
func TestNoDamageEndsTheProcess(t *testing.T) {
	path := fileOf(t, 400, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("alarm")).Put([]byte("\x08\x01\x10\x01"), nil) })
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	refused, runs := 0, 3000
	if testing.Short() {
		runs = 300
	}
	for range runs {
		b := append([]byte{}, whole...)
		for range 1 + random.IntN(3) {
			// The beginnings of pages are where most pointers are.
			at := random.IntN(len(b)/4096)*4096 + random.IntN(1+random.IntN(4095))
			b[at] ^= byte(1 << random.IntN(8))
		}
		if random.IntN(10) == 0 {
			b = b[:random.IntN(len(b))]
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := readAll(t.Context(), etcdfile.OpenOptions{Path: path, SkipHash: true}); err != nil {
			refused++
			if !strings.Contains(err.Error(), path) {
				t.Errorf("the error does not name the file: %v", err)
			}
		}
		if _, err := etcdfile.Open(t.Context(), etcdfile.OpenOptions{Path: path}); err == nil {
			t.Fatal("with its checksum it was not found damaged")
		}
	}
	t.Logf("%d of %d were refused without the checksum", refused, runs)
	if refused < runs/4 {
		t.Errorf("only %d of %d were refused", refused, runs)
	}
}

func TestFileThatIsWrittenIsNotRead(t *testing.T) {
	path := fileOf(t, 1, nil)
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := etcdfile.Open(t.Context(), etcdfile.OpenOptions{Path: path, SkipHash: true}); !errors.Is(err, etcdfile.ErrInUse) {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestNobodyWaitsForAFileAnyMore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := etcdfile.Open(ctx, etcdfile.OpenOptions{Path: fileOf(t, 1, nil)}); !errors.Is(err, context.Canceled) || errors.Is(err, chainfire.ErrCorrupt) {
		t.Error(err)
	}
}
