package node_test

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chainfire"
	"chainfire/internal/disk"
	"chainfire/node"
	"chainfire/object"
)

func makeBucket(t *testing.T, n *node.Node, name string) {
	t.Helper()
	if _, err := n.Objects().Change(t.Context(), &object.Change{CreateBucket: &object.CreateBucket{Name: name}}); err != nil {
		t.Fatalf("make bucket %s on member %d: %v", name, n.ID(), err)
	}
}

// putObject writes an object in the way that a front end does.
func putObject(t *testing.T, n *node.Node, bucket, key, text string, on object.Condition) error {
	t.Helper()
	o := n.Objects()
	w, err := o.NewBody(t.Context(), int64(len(text)))
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := io.WriteString(w, text); err != nil {
		return err
	}
	body, err := w.Finish(t.Context())
	if err != nil {
		return err
	}
	sum := md5.Sum([]byte(text))
	_, err = o.Change(t.Context(), &object.Change{Put: &object.Put{Bucket: bucket, Key: key, If: on, ETag: hex.EncodeToString(sum[:]), Body: body}})
	return err
}

func mustPut(t *testing.T, n *node.Node, bucket, key, text string) {
	t.Helper()
	if err := putObject(t, n, bucket, key, text, object.Condition{}); err != nil {
		t.Fatalf("put %s/%s on member %d: %v", bucket, key, n.ID(), err)
	}
}

// readObject reads an object from a view, which it closes.
func readObject(t *testing.T, n *node.Node, v *object.View, bucket, key string) (text string, err error) {
	t.Helper()
	defer func() { err = errors.Join(err, v.Close()) }()
	b, err := v.Bucket(bucket)
	if err != nil {
		return "", err
	}
	ver, err := v.Version(b, key, nil)
	if err != nil {
		return "", err
	}
	body, err := v.Body(ver.Body)
	if err != nil {
		return "", err
	}
	r, err := n.Objects().OpenBody(t.Context(), body, 0, body.Size)
	if err != nil {
		return "", err
	}
	all, err := io.ReadAll(r)
	return string(all), errors.Join(err, r.Close())
}

// getObject reads an object as it is now.
func getObject(t *testing.T, n *node.Node, bucket, key string) (string, error) {
	t.Helper()
	v, err := n.Objects().View(t.Context())
	if err != nil {
		return "", err
	}
	return readObject(t, n, v, bucket, key)
}

func mustGet(t *testing.T, n *node.Node, bucket, key, want string) {
	t.Helper()
	got, err := getObject(t, n, bucket, key)
	if err != nil || got != want {
		t.Errorf("%s/%s at member %d is %q, %v, want %q", bucket, key, n.ID(), got, err, want)
	}
}

// TestObjectsAreTheSameAtAllMembersAndComeWithASnapshot writes at every member, lets one
// come in whose seed has objects, and read them from itself.
func TestObjectsAreTheSameAtAllMembersAndComeWithASnapshot(t *testing.T) {
	a := start(t, options(t, "a"))
	makeBucket(t, a, "bucket")
	mustPut(t, a, "bucket", "before", "in the seed")
	addr := peerAddr(t, a)
	b, c := start(t, options(t, "b", addr)), start(t, options(t, "c", addr))
	voters(t, 3, a, b, c)
	members := []*node.Node{a, b, c}
	for _, n := range members {
		mustPut(t, n, "bucket", fmt.Sprint("of ", n.ID()), "text")
	}
	for _, n := range members {
		mustGet(t, n, "bucket", "before", "in the seed")
		for _, of := range members {
			mustGet(t, n, "bucket", fmt.Sprint("of ", of.ID()), "text")
		}
	}
	// One of several that want to be the first is.
	taken := 0
	for _, n := range members {
		err := putObject(t, n, "bucket", "once", fmt.Sprint(n.ID()), object.Condition{IfNoneMatch: "*"})
		switch {
		case err == nil:
			taken++
		case !errors.Is(err, object.ErrPreconditionFailed):
			t.Error(err)
		}
	}
	if taken != 1 {
		t.Errorf("%d members were the first to write a key", taken)
	}
	d := options(t, "d", addr)
	d.ReadReplica = true
	e := start(t, d)
	eventually(t, "the read replica serves", func() error {
		got, err := getObject(t, e, "bucket", "before")
		if err != nil || got != "in the seed" {
			return fmt.Errorf("%q, %w", got, err)
		}
		return nil
	})
	if _, err := e.Objects().Change(t.Context(), &object.Change{DeleteBucket: &object.DeleteBucket{Name: "bucket"}}); !errors.Is(err, chainfire.ErrLearner) {
		t.Errorf("a learner changes objects: %v", err)
	}
	local, err := e.Objects().Local(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readObject(t, e, local, "bucket", "before"); err != nil || got != "in the seed" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestObjectsOutliveARestart(t *testing.T) {
	o := options(t, "a")
	a := start(t, o)
	makeBucket(t, a, "bucket")
	mustPut(t, a, "bucket", "key", "text")
	sealed, err := a.Objects().Seal("AK", "secret")
	if err != nil {
		t.Fatal(err)
	}
	stop(t, a)
	a = start(t, o)
	mustGet(t, a, "bucket", "key", "text")
	if got, err := a.Objects().Unseal("AK", sealed); err != nil || got != "secret" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestWithoutBodiesThoseThatAreTooLargeForTheStateAreRefused(t *testing.T) {
	options := options(t, "a")
	options.Bounds.NoBodies = true
	a := start(t, options)
	makeBucket(t, a, "bucket")
	most := strings.Repeat("x", object.MaxInline)
	mustPut(t, a, "bucket", "key", most)
	mustGet(t, a, "bucket", "key", most)
	o := a.Objects()
	if _, err := o.NewBody(t.Context(), object.MaxInline+1); !errors.Is(err, object.ErrTooLarge) {
		t.Error(err)
	}
	w, err := o.NewBody(t.Context(), -1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if n, err := io.WriteString(w, most+"x"); n != 0 || !errors.Is(err, object.ErrTooLarge) {
		t.Errorf("%d bytes, %v", n, err)
	}
	body := &object.Body{Size: 4, Inline: []byte("text")}
	for _, r := range [][2]int64{{-1, 1}, {0, 5}, {5, 0}, {1, -1}, {4, 1 << 62}} {
		if _, err := o.OpenBody(t.Context(), body, r[0], r[1]); !errors.Is(err, object.ErrInvalid) {
			t.Errorf("%d bytes from %d on: %v", r[1], r[0], err)
		}
	}
	r, err := o.OpenBody(t.Context(), body, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || string(got) != "ex" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestAStoreWithoutRoomTakesNoObjectsAndLetsThemGo(t *testing.T) {
	o := options(t, "a")
	a := start(t, o)
	makeBucket(t, a, "bucket")
	mustPut(t, a, "bucket", "key", "text")
	stop(t, a)
	o.QuotaBytes = 1
	a = start(t, o)
	if err := putObject(t, a, "bucket", "more", "text", object.Condition{}); !errors.Is(err, chainfire.ErrNoSpace) {
		t.Errorf("put: %v", err)
	}
	r, err := a.Objects().Change(t.Context(), &object.Change{Delete: &object.Delete{Bucket: "bucket", Objects: []object.DeleteObject{{Key: "key"}}}})
	if err != nil || !r.Deleted[0].Found {
		t.Errorf("delete: %+v, %v", r, err)
	}
}

// TestPartsThatNothingRefersToAreLetGo aborts an upload, whose parts the leader then has
// taken out of the state.
func TestPartsThatNothingRefersToAreLetGo(t *testing.T) {
	a := start(t, options(t, "a"))
	makeBucket(t, a, "bucket")
	o := a.Objects()
	change := func(c *object.Change) *object.Result {
		t.Helper()
		r, err := o.Change(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	upload := change(&object.Change{CreateUpload: &object.CreateUpload{Bucket: "bucket", Key: "key"}}).Upload
	for i := range 3 {
		change(&object.Change{PutPart: &object.PutPart{
			Bucket: "bucket", Key: "key", Upload: upload, Number: i + 1, ETag: "98f6bcd4621d373cade4e832627b4f6f", Body: object.Body{Size: 4, Inline: []byte("test")},
		}})
	}
	change(&object.Change{Abort: &object.Abort{Bucket: "bucket", Key: "key", Upload: upload}})
	eventually(t, "the parts are gone", func() error {
		v, err := o.View(t.Context())
		if err != nil {
			return err
		}
		garbage, err := v.Garbage()
		if err == nil && garbage {
			err = errors.New("there is garbage")
		}
		return errors.Join(err, v.Close())
	})
}

// TestWhatOneMemberSealsAnotherUnseals goes through the ways in which members come to the
// same key.
func TestWhatOneMemberSealsAnotherUnseals(t *testing.T) {
	for name, plain := range map[string]bool{"with an authority": false, "without": true} {
		t.Run(name, func(t *testing.T) {
			o := options(t, "a")
			o.Plain = plain
			a := start(t, o)
			q := options(t, "b", peerAddr(t, a))
			if q.Plain = plain; plain {
				q.Token = nil
			}
			b := start(t, q)
			sealed, err := a.Objects().Seal("AK", "secret")
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(sealed), "secret") {
				t.Errorf("%q", sealed)
			}
			if got, err := b.Objects().Unseal("AK", sealed); err != nil || got != "secret" {
				t.Errorf("%q, %v", got, err)
			}
			if _, err := b.Objects().Unseal("AK2", sealed); !errors.Is(err, node.ErrSealedElse) {
				t.Errorf("for another access key: %v", err)
			}
			_, err = os.Stat(filepath.Join(o.Dir, "seal.key"))
			if plain != (err == nil) {
				t.Errorf("the key is in a file: %v", err)
			}
		})
	}
}

// TestMembersOfAListShareASealingKeyThatTheyAreGiven begins a cluster in which nobody has made
// one, and then gives it one.
func TestMembersOfAListShareASealingKeyThatTheyAreGiven(t *testing.T) {
	l := listed(t, "seal", "a", "b", "c")
	members := startAll(t, l)
	if _, err := members[0].Objects().Seal("AK", "secret"); !errors.Is(err, object.ErrNoSealKey) || !strings.Contains(err.Error(), "--seal-key-file") {
		t.Errorf("without a key: %v", err)
	}
	if _, err := members[0].Objects().Unseal("AK", []byte("sealed")); !errors.Is(err, object.ErrNoSealKey) {
		t.Errorf("without a key: %v", err)
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(strings.Repeat("random", 6)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, n := range members {
		stop(t, n)
		l[i].SealKeyFile = file
	}
	members = startAll(t, l)
	q := options(t, "d")
	q.Plain, q.Join = true, []string{peerAddr(t, members[0])}
	members = append(members, start(t, q))
	// Whoever is given the file itself keeps no copy of what is in it.
	with := options(t, "e")
	with.Plain, with.Join, with.SealKeyFile = true, []string{peerAddr(t, members[0])}, file
	members = append(members, start(t, with))
	if _, err := os.Stat(filepath.Join(with.Dir, "seal.key")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the operator's key is in the data directory of who has it from the operator: %v", err)
	}
	sealed, err := members[0].Objects().Seal("AK", "secret")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range members {
		if got, err := n.Objects().Unseal("AK", sealed); err != nil || got != "secret" {
			t.Errorf("member %d: %q, %v", n.ID(), got, err)
		}
	}
	for _, n := range members[:3] {
		stop(t, n)
	}
	l[0].SealKeyFile = filepath.Join(t.TempDir(), "none")
	if n, err := node.Start(t.Context(), l[0]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("with a file that is not there: %v, %v", n, err)
	}
}

// TestObjectsOutliveAPowerCut takes from all members what was not synced, right after the last
// put was acknowledged, and has one more come in after that.
func TestObjectsOutliveAPowerCut(t *testing.T) {
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d members", size), func(t *testing.T) {
			var all []node.Options
			var members []*node.Node
			for i := range size {
				o := options(t, fmt.Sprint("m", i))
				o.Plain, o.ListenPeer, o.FS, o.Dir = true, freeAddr(t), disk.NewFaultFS(), "data"
				if i > 0 {
					o.Join = []string{all[0].ListenPeer}
				}
				all = append(all, o)
				members = append(members, start(t, o))
			}
			voters(t, size, members...)
			makeBucket(t, members[0], "bucket")
			const puts = 20
			for i := range puts {
				mustPut(t, members[i%size], "bucket", fmt.Sprint("key", i), fmt.Sprint("text", i))
			}
			for i := range all {
				all[i].FS = all[i].FS.(*disk.FaultFS).Crash(disk.CrashOptions{})
			}
			for _, n := range members {
				stop(t, n)
			}
			members = startAll(t, all)
			for _, n := range members {
				t.Cleanup(func() { stop(t, n) })
			}
			o := options(t, "newcomer")
			o.Plain, o.Join = true, []string{all[0].ListenPeer}
			newcomer := start(t, o)
			for i := range puts {
				mustGet(t, members[i%size], "bucket", fmt.Sprint("key", i), fmt.Sprint("text", i))
				v, err := newcomer.Objects().Local(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if got, err := readObject(t, newcomer, v, "bucket", fmt.Sprint("key", i)); err != nil || got != fmt.Sprint("text", i) {
					t.Errorf("key%d at the newcomer is %q, %v", i, got, err)
				}
			}
		})
	}
}
