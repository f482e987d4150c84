package external_test

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"chainfire"
	"chainfire/blob"
	"chainfire/bodies"
	"chainfire/bodies/external"
	"chainfire/object"
	"chainfire/object/objecttest"
	"chainfire/s3api"
	"chainfire/s3api/s3test"
)

const (
	keyID  = "AKBODIES"
	secret = "what-nobody-is-told"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// serve begins an S3 server with a bucket, and says how to reach it.
func serve(t *testing.T) (external.Options, *minio.Client) {
	t.Helper()
	service := s3test.New()
	must(t, service.AddKey(object.AccessKey{ID: keyID, Admin: true}, secret))
	server := httptest.NewServer(s3api.New(s3api.Options{Service: service, Logger: slog.New(slog.DiscardHandler)}))
	t.Cleanup(server.Close)
	o, err := external.Parse("s3://bodies/here?region=us-east-1&endpoint=" + server.URL)
	must(t, err)
	o.AccessKeyID, o.SecretAccessKey, o.Cluster = keyID, secret, 7
	client, err := minio.New(o.Endpoint, &minio.Options{Creds: credentials.NewStaticV4(keyID, secret, ""), Region: "us-east-1"})
	must(t, err)
	must(t, client.MakeBucket(t.Context(), "bodies", minio.MakeBucketOptions{}))
	return o, client
}

func extent(lease uint64, n uint32) object.ExtentID {
	return object.ExtentID{Body: object.BodyID{Lease: lease, N: 3}, N: n}
}

func put(t *testing.T, s *external.Store, ids []object.ExtentID, data []byte) {
	t.Helper()
	stream, err := s.Put(t.Context())
	must(t, err)
	for _, id := range ids {
		must(t, stream.Send(id, data, crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))))
	}
	must(t, stream.Sync())
	must(t, stream.Close())
}

func TestExtentsComeBackAsTheyWere(t *testing.T) {
	o, client := serve(t)
	s, err := external.New(o)
	must(t, err)
	must(t, s.Try(t.Context()))
	data := bytes.Repeat([]byte("0123456789abcdef"), object.MaxExtent/16)
	var ids []object.ExtentID
	for n := range uint32(9) { // more than fly at once
		ids = append(ids, extent(5, n))
	}
	put(t, s, ids, data)
	has, err := s.Has(t.Context(), append(ids, extent(5, 9)))
	must(t, err)
	for i, is := range has {
		if is != (i < 9) {
			t.Errorf("extent %d is there: %v", i, is)
		}
	}
	for _, c := range []struct{ off, n int }{{0, len(data)}, {1, 5}, {len(data) - 1, 1}} {
		got := make([]byte, c.n)
		must(t, s.Get(t.Context(), ids[8], int64(c.off), got))
		if !bytes.Equal(got, data[c.off:c.off+c.n]) {
			t.Errorf("%d bytes at %d are others", c.n, c.off)
		}
	}
	if err := s.Get(t.Context(), ids[0], int64(len(data)), make([]byte, 1)); !errors.Is(err, blob.ErrRange) {
		t.Errorf("past the end: %v", err)
	}
	if err := s.Get(t.Context(), extent(5, 9), 0, make([]byte, 1)); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}

	// One byte rots where it lies.
	name := "here/0000000000000007/0000000000000005/00000003/00000002"
	rotten := append(bytes.Clone(data), 'C', 'F', 'X', '1', 0, 0, 0, 0)
	_, err = client.PutObject(t.Context(), "bodies", name, bytes.NewReader(rotten), int64(len(rotten)), minio.PutObjectOptions{})
	must(t, err)
	if err := s.Get(t.Context(), ids[2], 0, make([]byte, 4)); !errors.Is(err, chainfire.ErrCorrupt) || !strings.Contains(err.Error(), name) {
		t.Errorf("rotten bytes: %v", err)
	}
}

// TestARecoveredClusterReadsWhatItWroteBefore gives a cluster another id, as a recovery does, twice.
func TestARecoveredClusterReadsWhatItWroteBefore(t *testing.T) {
	o, _ := serve(t)
	var former []uint64
	for life := range uint64(3) {
		o.Cluster, o.Former = 7+life, former
		s, err := external.New(o)
		must(t, err)
		must(t, s.Try(t.Context()))
		put(t, s, []object.ExtentID{extent(5+life, 0)}, []byte{byte(life)})
		for earlier := range life + 1 {
			got := make([]byte, 1)
			if err := s.Get(t.Context(), extent(5+earlier, 0), 0, got); err != nil || got[0] != byte(earlier) {
				t.Errorf("life %d reads %v of life %d, %v", life, got, earlier, err)
			}
		}
		has, err := s.Has(t.Context(), []object.ExtentID{extent(5, 0), extent(9, 0)})
		must(t, err)
		if !has[0] || has[1] {
			t.Errorf("the first extent, and one that was never written, are there: %v", has)
		}
		former = append([]uint64{o.Cluster}, former...)
	}
}

func TestWhatCannotBeUsedIsFoundAtTheStart(t *testing.T) {
	o, _ := serve(t)
	for what, change := range map[string]func(*external.Options){
		"NoSuchBucket":          func(o *external.Options) { o.Bucket = "another" },
		"InvalidAccessKeyId":    func(o *external.Options) { o.AccessKeyID = "AKNOBODY" },
		"SignatureDoesNotMatch": func(o *external.Options) { o.SecretAccessKey = "guessed" },
	} {
		bad := o
		change(&bad)
		s, err := external.New(bad)
		must(t, err)
		err = s.Try(t.Context())
		if minioCode(err) != what {
			t.Errorf("%s: %v", what, err)
		}
		if err != nil && strings.Contains(err.Error(), "guessed") {
			t.Errorf("the error tells a secret: %v", err)
		}
	}
}

// minioCode is the code of S3 in an error.
func minioCode(err error) string {
	var r minio.ErrorResponse
	if errors.As(err, &r) {
		return r.Code
	}
	return ""
}

func TestBytesAreTheirCallersAgainOnceTheyAreSent(t *testing.T) {
	o, _ := serve(t)
	s, err := external.New(o)
	must(t, err)
	stream, err := s.Put(t.Context())
	must(t, err)
	data := make([]byte, object.MaxExtent)
	for n := range uint32(9) {
		for i := range data {
			data[i] = byte(n)
		}
		must(t, stream.Send(extent(5, n), data, crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))))
	}
	clear(data)
	must(t, stream.Sync())
	must(t, stream.Close())
	for n := range uint32(9) {
		must(t, s.Get(t.Context(), extent(5, n), 0, data))
		if data[0] != byte(n) || data[len(data)-1] != byte(n) {
			t.Errorf("extent %d came back with the bytes of another", n)
		}
	}
}

func TestAStreamTellsOfAnExtentThatWasRefused(t *testing.T) {
	o, client := serve(t)
	s, err := external.New(o)
	must(t, err)
	must(t, s.Try(t.Context()))
	stream, err := s.Put(t.Context())
	must(t, err)
	must(t, client.RemoveBucket(t.Context(), "bodies"))
	must(t, stream.Send(extent(1, 0), []byte("bytes"), 1))
	if err := stream.Sync(); minioCode(err) != "NoSuchBucket" {
		t.Errorf("%v", err)
	}
	must(t, stream.Close())
}

// state is what a collector is told.
type state struct {
	rows    *objecttest.Memory
	applied uint64
}

func (s *state) Change(context.Context, *object.Change) (*object.Result, error) {
	return nil, errors.New("a collector changes nothing")
}

func (s *state) Local(context.Context) (*object.View, error) {
	return object.NewView(s.rows.Snapshot(), nil), nil
}
func (s *state) Applied() uint64                   { return s.applied }
func (s *state) Place(object.ExtentID) []uint64    { return []uint64{1} }
func (s *state) Members() []uint64                 { return []uint64{1} }
func (s *state) Leads() bool                       { return true }
func (s *state) Absent(uint64, time.Duration) bool { return false }

func TestOnlyWhatNothingRefersToIsCollected(t *testing.T) {
	o, _ := serve(t)
	s, err := external.New(o)
	must(t, err)
	must(t, s.Try(t.Context()))
	st := &state{rows: objecttest.New(), applied: 20}
	for i, c := range []*object.Change{
		{OpenLease: &object.OpenLease{Member: 1, Boots: 1}}, // lease 10
		{OpenLease: &object.OpenLease{Member: 1, Boots: 1}}, // lease 11
		{CreateBucket: &object.CreateBucket{Name: "bucket", Owner: "x"}},
		{Put: &object.Put{Bucket: "bucket", Key: "key", Body: object.Body{
			ID: object.BodyID{Lease: 10, N: 3}, Size: 100_000,
			Extents: []object.Extent{{Size: 100_000, Holders: []uint64{object.ExternalHolder}}},
		}}},
		{CloseLease: &object.CloseLease{ID: 10}},
	} {
		_, err := object.Apply(st.rows, 10+uint64(i), st.Place, c)
		must(t, err)
	}
	referred, open, gone, ahead := extent(10, 0), extent(11, 0), extent(9, 0), extent(21, 0)
	ids := []object.ExtentID{referred, open, gone, ahead}
	put(t, s, ids, []byte("bytes"))
	c := &external.Collector{Store: s, State: st, Grace: time.Nanosecond}
	for look, want := range []int{0, 1, 0} { // the first only notes what is not wanted
		if n, err := c.Collect(t.Context()); n != want || err != nil {
			t.Errorf("look %d deleted %d, want %d, %v", look, n, want, err)
		}
	}
	has, err := s.Has(t.Context(), ids)
	must(t, err)
	if has[0] != true || has[1] != true || has[2] != false || has[3] != true {
		t.Errorf("referred to, under an open lease, garbage, of a lease yet to be applied: %v", has)
	}
	var _ bodies.State = st
}
