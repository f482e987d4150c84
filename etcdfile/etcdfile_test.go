package etcdfile_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"chainfire/etcdfile"
	"chainfire/internal/disk"
	"chainfire/mvcc"
)

// viewOf is a key space of some keys, in more than one transaction of the file.
func viewOf(t *testing.T, keys int) *mvcc.View {
	t.Helper()
	opts := mvcc.Options{FS: disk.NewFaultFS(), Dir: "store"}
	if err := mvcc.Create(opts, mvcc.State{}, nil); err != nil {
		t.Fatal(err)
	}
	s, err := mvcc.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	w, err := s.NewWriter()
	if err != nil {
		t.Fatal(err)
	}
	for i := range keys {
		if _, err := w.Put(fmt.Appendf(nil, "k%d", i), []byte("v"), 0, false); err != nil {
			t.Fatal(err)
		}
		w.EndTxn()
	}
	if err := w.Commit(1, 1); err != nil {
		t.Fatal(err)
	}
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

func TestFileHasEveryVersionAndIsWhole(t *testing.T) {
	const keys = 25_000
	path := filepath.Join(t.TempDir(), "db")
	if err := etcdfile.Write(t.Context(), path, etcdfile.State{View: viewOf(t, keys), Applied: 1, Term: 1}); err != nil {
		t.Fatal(err)
	}
	if err := etcdfile.Write(t.Context(), path, etcdfile.State{View: viewOf(t, 1)}); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second time: %v", err)
	}
	db, err := bbolt.Open(path, 0o400, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			t.Error(err)
		}
		if n := tx.Bucket([]byte("key")).Stats().KeyN; n != keys {
			t.Errorf("%d versions, want %d", n, keys)
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestFileThatCannotBeFinishedIsRemoved(t *testing.T) {
	view := viewOf(t, 25_000)
	full := errors.New("full")
	for name, begin := range map[string]func(*etcdfile.State) (context.Context, error){
		"no room from the beginning": func(s *etcdfile.State) (context.Context, error) {
			s.Room = func() error { return full }
			return t.Context(), full
		},
		"no room left": func(s *etcdfile.State) (context.Context, error) {
			asked := 0
			s.Room = func() error {
				if asked++; asked == 3 {
					return full
				}
				return nil
			}
			return t.Context(), full
		},
		"nobody waits any more": func(*etcdfile.State) (context.Context, error) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return ctx, context.Canceled
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "db")
			s := etcdfile.State{View: view, Applied: 1, Term: 1}
			ctx, want := begin(&s)
			if err := etcdfile.Write(ctx, path, s); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the file: %v", err)
			}
		})
	}
}
