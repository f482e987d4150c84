// Package etcdfile writes the state of a member as etcd's database file, which etcdutl
// checks and restores: a bbolt database with etcd's tables (etcd's server/storage/schema).
package etcdfile

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"chainfire"
	"chainfire/auth"
	"chainfire/mvcc"
)

// StorageVersion is that of the files that are written.
const StorageVersion = "3.7.0"

// The names of etcd's tables, and of what is in those that are not keys.
var (
	tableKey     = []byte("key")
	tableMeta    = []byte("meta")
	tableCluster = []byte("cluster")
	tableMembers = []byte("members")
	tableLease   = []byte("lease")
	// empty are the tables that are there with nothing in them.
	emptyTables = [...]string{"alarm", "members_removed"}
)

// State is what a file is made of.
type State struct {
	// View is the key space and the leases, exact (mvcc.Store.ExactView). The file holds everything that can be read of it.
	View *mvcc.View
	// Applied and Term name the last log entry that is in it.
	Applied, Term uint64
	// Members are those of the cluster.
	Members []chainfire.MemberInfo
	// Auth is who may do what; nil is a cluster without users.
	Auth *auth.State
	// Room is asked before each part is written; an error ends the whole. Nil asks
	// nobody.
	Room func() error
}

// The most that one transaction of the database holds.
const (
	maxRows  = 10000
	maxBytes = 8 << 20
)

// Write makes the file, which must not be there, and makes it durable. After an error it
// is removed.
func Write(ctx context.Context, path string, s State) (err error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		NoSync: true, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			return os.OpenFile(name, flag|os.O_EXCL, mode)
		},
	})
	if err != nil {
		return fmt.Errorf("make the database file: %w", err)
	}
	w := writer{db: db, room: s.Room}
	err = errors.Join(w.write(ctx, s), w.rollback())
	if err == nil {
		if err = db.Sync(); err != nil {
			err = fmt.Errorf("sync the database file: %w", err)
		}
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// writer fills the table of keys in transactions of bounded size.
type writer struct {
	db   *bbolt.DB
	room func() error
	tx   *bbolt.Tx
	keys *bbolt.Bucket
	rows int
	size int
}

func (w *writer) write(ctx context.Context, s State) error {
	if err := w.askRoom(); err != nil {
		return err
	}
	if err := w.db.Update(func(tx *bbolt.Tx) error { return describe(tx, s) }); err != nil {
		return fmt.Errorf("describe the cluster: %w", err)
	}
	if err := s.View.Versions(ctx, w.version); err != nil {
		return fmt.Errorf("write the keys: %w", err)
	}
	return w.commit()
}

// describe writes what is not keys.
func describe(tx *bbolt.Tx, s State) error {
	tables := map[string]*bbolt.Bucket{}
	for _, name := range append([]string{string(tableKey), string(tableMeta), string(tableCluster), string(tableMembers), string(tableLease)}, emptyTables[:]...) {
		b, err := tx.CreateBucket([]byte(name))
		if err != nil {
			return fmt.Errorf("table %s: %w", name, err)
		}
		tables[name] = b
	}
	meta := tables[string(tableMeta)]
	conf := struct {
		Voters    []uint64 `json:"voters"`
		AutoLeave bool     `json:"auto_leave"`
	}{}
	errs := []error{putUsers(tx, s.Auth)}
	for _, m := range s.Members {
		row, err := json.Marshal(etcdMember{m.ID, m.PeerURLs, m.Learner, m.Name, m.ClientURLs})
		errs = append(errs, err, tables[string(tableMembers)].Put([]byte(strconv.FormatUint(m.ID, 16)), row))
		if !m.Learner {
			conf.Voters = append(conf.Voters, m.ID)
		}
	}
	errs = append(errs, putLeases(tables[string(tableLease)], s.View))
	confRow, err := json.Marshal(conf)
	errs = append(errs, err,
		meta.Put([]byte("consistent_index"), binary.BigEndian.AppendUint64(nil, s.Applied)),
		meta.Put([]byte("term"), binary.BigEndian.AppendUint64(nil, s.Term)),
		meta.Put([]byte("confState"), confRow),
		meta.Put([]byte("storageVersion"), []byte(StorageVersion)),
		tables[string(tableCluster)].Put([]byte("clusterVersion"), []byte(StorageVersion)),
	)
	if c := s.View.CompactRevision(); c != mvcc.NeverCompacted {
		row := revisionKey(mvcc.Revision{Main: c}, false)
		errs = append(errs, meta.Put([]byte("scheduledCompactRev"), row), meta.Put([]byte("finishedCompactRev"), row))
	}
	return errors.Join(errs...)
}

// putLeases writes leases as etcd's leasepb.Lease: id, time to live, and what the last
// checkpoint left of it.
func putLeases(table *bbolt.Bucket, v *mvcc.View) error {
	leases, err := v.Leases()
	if err != nil {
		return fmt.Errorf("read the leases: %w", err)
	}
	for _, l := range leases {
		var row []byte
		for i, n := range []int64{l.ID, l.TTL, l.Remaining} {
			if n != 0 {
				row = protowire.AppendTag(row, protowire.Number(i+1), protowire.VarintType)
				row = protowire.AppendVarint(row, uint64(n))
			}
		}
		if err := table.Put(binary.BigEndian.AppendUint64(nil, uint64(l.ID)), row); err != nil {
			return fmt.Errorf("write lease %s: %w", chainfire.LeaseID(l.ID), err)
		}
	}
	return nil
}

// etcdMember is a member as etcd writes it.
type etcdMember struct {
	ID         uint64   `json:"id"`
	PeerURLs   []string `json:"peerURLs"`
	Learner    bool     `json:"isLearner,omitempty"`
	Name       string   `json:"name,omitempty"`
	ClientURLs []string `json:"clientURLs,omitempty"`
}

// revisionKey is a revision as etcd's table has it for a key.
func revisionKey(r mvcc.Revision, deleted bool) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 18), uint64(r.Main))
	b = append(b, '_')
	b = binary.BigEndian.AppendUint64(b, uint64(r.Sub))
	if deleted {
		b = append(b, 't')
	}
	return b
}

func (w *writer) version(v *mvcc.Version) error {
	kv := &mvccpb.KeyValue{Key: v.Key}
	if !v.Deleted {
		kv.CreateRevision, kv.ModRevision, kv.Version = v.Create, v.Revision.Main, v.Count
		kv.Value, kv.Lease = v.Value, v.Lease
	}
	row, err := proto.Marshal(kv)
	if err != nil {
		return fmt.Errorf("encode the version of revision %d.%d: %w", v.Revision.Main, v.Revision.Sub, err)
	}
	if w.tx == nil {
		if err := w.begin(); err != nil {
			return err
		}
	}
	if err := w.keys.Put(revisionKey(v.Revision, v.Deleted), row); err != nil {
		return fmt.Errorf("write revision %d.%d: %w", v.Revision.Main, v.Revision.Sub, err)
	}
	w.rows++
	if w.size += len(row); w.rows >= maxRows || w.size >= maxBytes {
		return w.commit()
	}
	return nil
}

func (w *writer) askRoom() error {
	if w.room == nil {
		return nil
	}
	return w.room()
}

func (w *writer) begin() (err error) {
	if err := w.askRoom(); err != nil {
		return err
	}
	if w.tx, err = w.db.Begin(true); err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	w.keys = w.tx.Bucket(tableKey)
	w.keys.FillPercent = 0.9 // rows come in order
	w.rows, w.size = 0, 0
	return nil
}

func (w *writer) commit() error {
	tx := w.tx
	if tx == nil {
		return nil
	}
	w.tx = nil
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// rollback ends what an error left open.
func (w *writer) rollback() error {
	if w.tx == nil {
		return nil
	}
	return w.tx.Rollback()
}
