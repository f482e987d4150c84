package node_test

import (
	"bufio"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"chainfire/api"
	"chainfire/bodies"
	"chainfire/node"
	"chainfire/object"
	"chainfire/pki"
)

// What a member that is a process of its own is started with.
const (
	processDir    = "CHAINFIRE_TEST_MEMBER_DIR"
	processListen = "CHAINFIRE_TEST_MEMBER_LISTEN"
	processJoin   = "CHAINFIRE_TEST_MEMBER_JOIN"
	processToken  = "CHAINFIRE_TEST_MEMBER_TOKEN"
	// processUploads is how many bodies it begins, which it never finishes.
	processUploads = "CHAINFIRE_TEST_MEMBER_UPLOADS"
)

// TestMemberProcess is a member in a process of its own, for tests that kill it.
func TestMemberProcess(t *testing.T) {
	if os.Getenv(processDir) == "" {
		t.Skip("only for other tests, which start it")
	}
	o := options(t, "process", os.Getenv(processJoin))
	o.Dir, o.ListenPeer = os.Getenv(processDir), os.Getenv(processListen)
	token, err := pki.ParseToken(os.Getenv(processToken))
	if err != nil {
		t.Fatal(err)
	}
	o.Token = &token
	uploads := os.Getenv(processUploads)
	if quickBodies(&o); uploads != "" {
		tidyBodies(&o)
	}
	n, err := node.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if uploads != "" {
		defer beginUploads(t, n, uploads)()
	}
	fmt.Println("member runs")
	// Whoever started it ends it, or closes its input with its own end.
	_, _ = io.Copy(io.Discard, os.Stdin)
	stop(t, n)
}

// quickBodies has a member repair at once what it can.
func quickBodies(o *node.Options) {
	o.Bounds.Bodies = func(b *bodies.Options) {
		b.RetryEvery, b.RepairEvery = 100*time.Millisecond, 500*time.Millisecond
		b.Patience = 500 * time.Millisecond
		b.CollectEvery, b.Grace = 200*time.Millisecond, 200*time.Millisecond
	}
}

// process starts a member in a process of its own and waits until it runs.
func process(t *testing.T, dir, listen, join, token string, env ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^TestMemberProcess$", "-test.v")
	c.Env = append(os.Environ(), processDir+"="+dir, processListen+"="+listen, processJoin+"="+join, processToken+"="+token)
	c.Env = append(c.Env, env...)
	c.Stderr = os.Stderr
	if _, err := c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill() // it may be gone already
		_ = c.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "member runs") {
			go func() {
				for lines.Scan() { // what it writes must go somewhere
				}
			}()
			return c
		}
	}
	t.Fatal("the process of the member ended before it ran")
	return nil
}

func noise(seed uint64, n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	b := make([]byte, n)
	_, _ = r.Read(b) // never fails
	return b
}

// putBytes writes an object of many extents, and tries again what cannot be had at the moment.
func putBytes(ctx context.Context, n *node.Node, key string, data []byte) error {
	for {
		err := putOnce(ctx, n, key, data)
		if err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func putOnce(ctx context.Context, n *node.Node, key string, data []byte) error {
	return useBody(ctx, n, data, func(body object.Body) error {
		sum := md5.Sum(data)
		_, err := n.Objects().Change(ctx, &object.Change{Put: &object.Put{Bucket: "bucket", Key: key, ETag: hex.EncodeToString(sum[:]), Body: body}})
		return err
	})
}

// useBody writes a body and has it used, before its lease may be closed: after that nothing can refer to it.
func useBody(ctx context.Context, n *node.Node, data []byte, use func(object.Body) error) error {
	w, err := n.Objects().NewBody(ctx, int64(len(data)))
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := w.Write(data); err != nil {
		return err
	}
	body, err := w.Finish(ctx)
	if err != nil {
		return err
	}
	return use(body)
}

// readsBytes compares what a member reads of an object.
func readsBytes(t *testing.T, n *node.Node, key string, want []byte) error {
	t.Helper()
	got, err := getObject(t, n, "bucket", key)
	if err != nil {
		return err
	}
	if got != string(want) {
		return errors.New("other bytes")
	}
	return nil
}

// hasAllExtents waits until a member has so many extents, whole.
func hasAllExtents(t *testing.T, n *node.Node, want int64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d extents on member %d", want, n.ID()), func() error {
		if c := n.Bodies(); c.Extents < want || c.Missing > 0 || c.Damaged > 0 {
			return fmt.Errorf("there are %d, %d are missing, %d damaged", c.Extents, c.Missing, c.Damaged)
		}
		return nil
	})
}

// TestBodiesSurviveAMemberThatIsKilledAndADirectoryThatIsWiped writes bodies while a member is killed
// with SIGKILL and started again, reads all of them back from every member, and from that member
// alone once it has healed; then the same with its extents removed.
func TestBodiesSurviveAMemberThatIsKilledAndADirectoryThatIsWiped(t *testing.T) {
	objects, size := 12, 5<<20+12345
	if testing.Short() {
		objects, size = 6, 2<<20+12345
	}
	first := options(t, "a")
	quickBodies(&first)
	a := start(t, first)
	addr := peerAddr(t, a)
	token, err := os.ReadFile(node.TokenFile(first.Dir))
	if err != nil {
		t.Fatal(err)
	}
	second := options(t, "b", addr)
	quickBodies(&second)
	b := start(t, second)
	dir, listen := filepath.Join(t.TempDir(), "c"), freeAddr(t)
	child := process(t, dir, listen, addr, string(token))
	voters(t, 3, a, b)
	makeBucket(t, a, "bucket")

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	data := make([][]byte, objects)
	var wg sync.WaitGroup
	half := make(chan struct{})
	wg.Go(func() {
		for i := range data {
			if i == objects/3 {
				close(half)
			}
			data[i] = noise(uint64(i), size+i)
			if err := putBytes(ctx, []*node.Node{a, b}[i%2], fmt.Sprint(i), data[i]); err != nil {
				t.Errorf("object %d: %v", i, err)
			}
		}
	})
	<-half
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	wg.Wait()
	if t.Failed() {
		return
	}

	third := options(t, "c")
	third.Dir, third.ListenPeer = dir, listen
	quickBodies(&third)
	c := start(t, third)
	extents := int64(objects) * int64((size+object.MaxExtent-1)/object.MaxExtent)
	for _, n := range []*node.Node{a, b, c} {
		for i := range data {
			if err := readsBytes(t, n, fmt.Sprint(i), data[i]); err != nil {
				t.Errorf("object %d from member %d: %v", i, n.ID(), err)
			}
		}
		hasAllExtents(t, n, extents)
	}

	stop(t, c)
	if err := os.RemoveAll(filepath.Join(dir, "blob")); err != nil {
		t.Fatal(err)
	}
	c = start(t, third)
	hasAllExtents(t, c, extents)
	for i := range data {
		if err := readsBytes(t, c, fmt.Sprint(i), data[i]); err != nil {
			t.Errorf("object %d after the extents were removed: %v", i, err)
		}
	}
	if got := c.Bodies(); got.Remote > 0 || got.Repaired != extents {
		t.Errorf("%d reads were served by others, %d extents were fetched, of %d", got.Remote, got.Repaired, extents)
	}
}

// TestExtentsOfAnotherClusterAreLetGo makes a directory look as after a recovery, in which names of
// extents may be given anew.
func TestExtentsOfAnotherClusterAreLetGo(t *testing.T) {
	o := options(t, "a")
	a := start(t, o)
	makeBucket(t, a, "bucket")
	kept := noise(1, 3<<20)
	if err := putOnce(t.Context(), a, "kept", kept); err != nil {
		t.Fatal(err)
	}
	w, err := a.Objects().NewBody(t.Context(), -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(noise(2, 2<<20)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := a.Bodies().Extents; n != 5 {
		t.Fatalf("%d extents", n)
	}
	stop(t, a)
	if err := os.Remove(filepath.Join(o.Dir, "bodies.json")); err != nil {
		t.Fatal(err)
	}
	a = start(t, o)
	if n := a.Bodies().Extents; n != 3 {
		t.Errorf("%d extents are left, want 3", n)
	}
	if err := readsBytes(t, a, "kept", kept); err != nil {
		t.Error(err)
	}
}

// TestAChangeOfAnObjectIsNoChangeOfMembers writes small objects: all bodies are to be looked through
// where members change, not with each write.
func TestAChangeOfAnObjectIsNoChangeOfMembers(t *testing.T) {
	a := start(t, options(t, "a"))
	makeBucket(t, a, "bucket")
	eventually(t, "the bodies that were there at the start are looked through", func() error {
		if a.Bodies().Passes == 0 {
			return errors.New("they are not yet")
		}
		return nil
	})
	before := a.Bodies().Passes
	for i := range 50 {
		if err := putOnce(t.Context(), a, fmt.Sprint(i), noise(uint64(i), 10)); err != nil {
			t.Fatal(err)
		}
	}
	if n := a.Bodies().Passes - before; n > 1 {
		t.Errorf("all bodies were looked through %d times", n)
	}
}

func TestAMemberThatKeepsBodiesNoMoreClosesItsWriteLeases(t *testing.T) {
	o := options(t, "a")
	a := start(t, o)
	makeBucket(t, a, "bucket")
	if err := putBytes(t.Context(), a, "key", noise(1, 1<<20)); err != nil {
		t.Fatal(err)
	}
	open := func() (n int) {
		t.Helper()
		v, err := a.Objects().View(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l, err := v.Leases()
		if err := errors.Join(err, v.Close()); err != nil {
			t.Fatal(err)
		}
		return len(l)
	}
	if open() == 0 {
		t.Fatal("bytes were written under no lease")
	}
	stop(t, a)
	o.Bounds.NoBodies = true
	a = start(t, o)
	eventually(t, "the lease is closed", func() error {
		if n := open(); n > 0 {
			return fmt.Errorf("%d are open", n)
		}
		return nil
	})
}

// clusterClient calls the Cluster service of a member.
func clusterClient(t *testing.T, n *node.Node) api.ClusterClient {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	n.RegisterCluster(s)
	go func() { _ = s.Serve(l) }() // ends with Stop
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		s.Stop()
	})
	return api.NewClusterClient(conn)
}
