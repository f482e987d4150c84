// Package external keeps the bytes of object bodies in another store that speaks S3, in place of
// the members' disks. To package bodies such a store is one more member, object.ExternalHolder,
// that alone holds what is written to it: what is durable is the store's word.
//
// Each extent is one object: its bytes, and behind them a magic word and their CRC-32C, so that
// what comes back is checked whatever lies between.
package external

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"sync"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"chainfire"
	"chainfire/blob"
	"chainfire/bodies"
	"chainfire/object"
)

// An object ends in the magic word and the CRC-32C of what is before it, both big endian.
const (
	magic     = 0x43465831 // CFX1
	footerLen = 8
)

// flight is how many extents of one body are on their way at once.
const flight = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Store is a bucket of another store. Its methods may be called from any goroutine.
type Store struct {
	client *minio.Client
	o      Options
	// root begins the names of this cluster's objects, former those of what it was before.
	root   string
	former []string
}

var _ bodies.Peer = (*Store)(nil)

// New makes a store. It asks nothing of it yet.
func New(o Options) (*Store, error) {
	style := minio.BucketLookupDNS
	if o.PathStyle {
		style = minio.BucketLookupPath
	}
	client, err := minio.New(o.Endpoint, &minio.Options{
		Creds:  credentials.NewStaticV4(o.AccessKeyID, o.SecretAccessKey, ""),
		Secure: o.Secure, Region: o.Region, BucketLookup: style, Transport: o.Transport,
	})
	if err != nil {
		return nil, fmt.Errorf("store for bodies at %s: %w", o.Endpoint, err)
	}
	s := &Store{client: client, o: o, root: rootOf(o.Prefix, o.Cluster)}
	for _, cluster := range o.Former {
		s.former = append(s.former, rootOf(o.Prefix, cluster))
	}
	return s, nil
}

// Try writes an object that is no extent, reads it and deletes it, so that a key which may do less, or
// a bucket that is not there, is found before the first large object comes.
func (s *Store) Try(ctx context.Context) error {
	name, want := s.root+"trial", []byte("a trial of chainfire")
	err := s.write(ctx, name, sealed(want, crc32.Checksum(want, castagnoli)))
	if err == nil {
		var got []byte
		if got, err = s.read(ctx, name); err == nil && !bytes.Equal(got, want) {
			err = errors.New("an object came back as another")
		}
		err = errors.Join(err, s.remove(ctx, name))
	}
	if err != nil {
		return fmt.Errorf("store for bodies: bucket %s at %s cannot be used: %w", s.o.Bucket, s.o.Endpoint, err)
	}
	return nil
}

func rootOf(prefix string, cluster uint64) string { return fmt.Sprintf("%s%016x/", prefix, cluster) }

func (s *Store) name(id object.ExtentID) string { return nameIn(s.root, id) }

func nameIn(root string, id object.ExtentID) string {
	return fmt.Sprintf("%s%016x/%08x/%08x", root, id.Body.Lease, id.Body.N, id.N)
}

// find calls look with the names that an extent may have, until one is there. Whichever that is has
// its bytes: a name that the state refers to was given once in all of the cluster's lives.
func (s *Store) find(id object.ExtentID, look func(name string) error) error {
	err := look(s.name(id))
	for i := 0; i < len(s.former) && errors.Is(err, blob.ErrNotFound); i++ {
		err = look(nameIn(s.former[i], id))
	}
	return err
}

// sealed is a copy of an extent's bytes, and what is behind them.
func sealed(data []byte, crc uint32) []byte {
	whole := append(make([]byte, 0, len(data)+footerLen), data...)
	whole = binary.BigEndian.AppendUint32(whole, magic)
	return binary.BigEndian.AppendUint32(whole, crc)
}

// write writes one object, whole or not at all.
func (s *Store) write(ctx context.Context, name string, whole []byte) error {
	_, err := s.client.PutObject(ctx, s.o.Bucket, name, bytes.NewReader(whole), int64(len(whole)), minio.PutObjectOptions{
		ContentType: "application/octet-stream", DisableMultipart: true, SendContentMd5: true,
	})
	if err != nil {
		return fmt.Errorf("write object %s: %w", name, known(err))
	}
	return nil
}

// read reads one object and checks it.
func (s *Store) read(ctx context.Context, name string) ([]byte, error) {
	o, err := s.client.GetObject(ctx, s.o.Bucket, name, minio.GetObjectOptions{})
	if err != nil {
		return nil, fmt.Errorf("read object %s: %w", name, known(err))
	}
	whole, err := io.ReadAll(io.LimitReader(o, object.MaxExtent+footerLen+1))
	if err = errors.Join(err, o.Close()); err != nil {
		return nil, fmt.Errorf("read object %s: %w", name, known(err))
	}
	n := len(whole) - footerLen
	if n < 0 || binary.BigEndian.Uint32(whole[n:]) != magic || binary.BigEndian.Uint32(whole[n+4:]) != crc32.Checksum(whole[:n], castagnoli) {
		return nil, fmt.Errorf("read object %s of %d bytes: %w: it does not have its checksum", name, len(whole), chainfire.ErrCorrupt)
	}
	return whole[:n], nil
}

func (s *Store) remove(ctx context.Context, name string) error {
	if err := s.client.RemoveObject(ctx, s.o.Bucket, name, minio.RemoveObjectOptions{}); err != nil {
		return fmt.Errorf("delete object %s: %w", name, known(err))
	}
	return nil
}

// known makes an answer of the store the error that package bodies knows.
func known(err error) error {
	var r minio.ErrorResponse
	if errors.As(err, &r) && r.StatusCode == http.StatusNotFound && r.Code != "NoSuchBucket" {
		return fmt.Errorf("%w: %w", blob.ErrNotFound, err)
	}
	return err
}

// Get implements bodies.Peer.
func (s *Store) Get(ctx context.Context, id object.ExtentID, off int64, dst []byte) error {
	var data []byte
	err := s.find(id, func(name string) (err error) {
		data, err = s.read(ctx, name)
		return err
	})
	if err != nil {
		return err
	}
	if off < 0 || off+int64(len(dst)) > int64(len(data)) {
		return fmt.Errorf("read %d bytes at %d of an extent of %d: %w", len(dst), off, len(data), blob.ErrRange)
	}
	copy(dst, data[off:])
	return nil
}

// Has implements bodies.Peer.
func (s *Store) Has(ctx context.Context, ids []object.ExtentID) ([]bool, error) {
	has := make([]bool, len(ids))
	for i, id := range ids {
		err := s.find(id, func(name string) error {
			_, err := s.client.StatObject(ctx, s.o.Bucket, name, minio.StatObjectOptions{})
			return known(err)
		})
		if err != nil && !errors.Is(err, blob.ErrNotFound) {
			return nil, fmt.Errorf("look for object %s: %w", s.name(id), err)
		}
		has[i] = err == nil
	}
	return has, nil
}

// Put implements bodies.Peer.
func (s *Store) Put(ctx context.Context) (bodies.Stream, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	return &stream{s: s, ctx: ctx, cancel: cancel, slots: make(chan struct{}, flight)}, nil
}

// stream writes the extents of one body, a few at once.
type stream struct {
	s      *Store
	ctx    context.Context
	cancel context.CancelCauseFunc
	slots  chan struct{}
	work   sync.WaitGroup
}

// Send implements bodies.Stream. It returns with a copy of the extent on its way; Sync tells how it went.
func (t *stream) Send(id object.ExtentID, data []byte, crc uint32) error {
	select {
	case t.slots <- struct{}{}:
	case <-t.ctx.Done():
		return context.Cause(t.ctx)
	}
	whole := sealed(data, crc) // the bytes are the caller's again before they are written
	t.work.Go(func() {
		defer func() { <-t.slots }()
		if err := t.s.write(t.ctx, t.s.name(id), whole); err != nil {
			t.cancel(err)
		}
	})
	return nil
}

// Sync implements bodies.Stream.
func (t *stream) Sync() error {
	t.work.Wait()
	return context.Cause(t.ctx)
}

// Close implements bodies.Stream.
func (t *stream) Close() error {
	t.cancel(context.Canceled)
	t.work.Wait()
	return nil
}
