package pki

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"chainfire/internal/disk"
)

// kept is what an operator's files hold. The files are read again when they change:
// what is good of a change is taken over, what is not is told once, and what was read
// before stays in force. Safe for concurrent use.
type kept[M any] struct {
	fs  disk.FS
	log *slog.Logger
	// what is what the files are to the log.
	what  string
	files []keptFile
	// parse makes of the contents, in the order of files, what they are for. It is
	// called with the lock held.
	parse func(raw []string) (M, error)
	// taken says in the log what was taken over.
	taken func(M)

	mu sync.Mutex
	// use is in force, and raw is what it was made of.
	use M
	raw []string
	// seen are the files when they were last read; refused is what was wrong the last
	// time, so that it is told once.
	seen    []stamp
	refused string
}

// keptFile is a file, by which flag it was given, and how large it may be.
type keptFile struct {
	flag, path string
	max        int64
}

// stamp tells a changed file by a look at its entry.
type stamp struct {
	size int64
	mod  time.Time
}

// load reads the files for the first time. Its errors name file and flag.
func (k *kept[M]) load() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen = k.stamps()
	raw, err := k.read()
	if err != nil {
		return err
	}
	k.raw = raw
	k.use, err = k.parse(raw)
	return err
}

// refresh reads the files, whatever their entries say.
func (k *kept[M]) refresh() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reread()
}

// glance is refresh for every handshake: the files are read only where their entries
// have changed.
func (k *kept[M]) glance() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Equal(k.stamps(), k.seen) {
		k.reread()
	}
}

func (k *kept[M]) current() M {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.use
}

func (k *kept[M]) reread() {
	// Before the reading: what is written meanwhile is seen the next time.
	k.seen = k.stamps()
	var m M
	raw, err := k.read()
	if err == nil {
		m, err = k.parse(raw)
	}
	same := slices.Equal(raw, k.raw)
	switch {
	case err != nil:
		text := "changed " + k.what + " files are not taken over; what was read before stays in force"
		if same {
			text = "the " + k.what + " in force is not good any more, and others refuse it"
		}
		// The same files are told of once, whatever the time is.
		about := err.Error()
		if raw != nil {
			about = strings.Join(raw, "")
		}
		if k.refused != about {
			k.log.Warn(text, "err", err)
		}
		k.refused = about
	case !same:
		k.use, k.raw, k.refused = m, raw, ""
		k.taken(m)
	default:
		k.refused = ""
	}
}

func (k *kept[M]) stamps() []stamp {
	out := make([]stamp, len(k.files))
	for i, f := range k.files {
		if info, err := k.fs.Stat(f.path); err == nil {
			out[i] = stamp{info.Size(), info.ModTime()}
		}
	}
	return out
}

func (k *kept[M]) read() ([]string, error) {
	raw := make([]string, len(k.files))
	for i, f := range k.files {
		b, err := disk.ReadFile(k.fs, f.path, f.max)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.flag, err)
		}
		raw[i] = string(b)
	}
	return raw, nil
}

// warnOfMode tells of a key that others of this machine can read.
func (k *kept[M]) warnOfMode(key keptFile) {
	info, err := k.fs.Stat(key.path)
	if err == nil && info.Mode().Perm()&0o007 != 0 {
		k.log.Warn("the key in "+key.flag+" can be read by others: chmod o= it", "file", key.path, "mode", info.Mode().Perm().String())
	}
}
