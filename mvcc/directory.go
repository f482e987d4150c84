package mvcc

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"slices"
	"strings"

	"chainfire/internal/disk"
)

// A store's directory holds numbered engine directories and a pointer file that
// names the one in force. Replacing the store is replacing the pointer.
const (
	pointerName  = "STORE"
	enginePrefix = "store-"
	pointerLimit = 256
)

// ErrNotExist says that there is no store in the directory.
var ErrNotExist = errors.New("no store in the directory")

// ErrExist says that there is a store in the directory already.
var ErrExist = errors.New("a store is in the directory already")

func engineName(n uint64) string { return fmt.Sprintf("%s%06d", enginePrefix, n) }

// pointerLine is the content of the pointer file: the name, and a checksum.
func pointerLine(name string) []byte {
	return fmt.Appendf(nil, "%s %08x\n", name, crc32.Checksum([]byte(name), crc32.MakeTable(crc32.Castagnoli)))
}

// readPointer returns the number of the engine directory in force.
func readPointer(fsys FS, dir string) (uint64, error) {
	path := fsys.PathJoin(dir, pointerName)
	b, err := disk.ReadFile(fsys, path, pointerLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%w: %s", ErrNotExist, dir)
	}
	if err != nil {
		return 0, err
	}
	var n uint64
	name, _, _ := strings.Cut(string(b), " ")
	if _, err := fmt.Sscanf(name, enginePrefix+"%d", &n); err != nil || string(b) != string(pointerLine(engineName(n))) {
		return 0, fmt.Errorf("%w: pointer file %s", errCorruptRow, path)
	}
	return n, nil
}

// Current is the path of the engine directory in force: a checkpoint, for those
// who only read. It returns ErrNotExist when there is no store.
func Current(fsys FS, dir string) (string, error) {
	n, err := readPointer(fsys, dir)
	return fsys.PathJoin(dir, engineName(n)), err
}

func writePointer(fsys FS, dir string, n uint64) error {
	return disk.WriteFileAtomic(fsys, fsys.PathJoin(dir, pointerName), pointerLine(engineName(n)))
}

// removeLeftovers removes every engine directory but the one in force (0 is
// none): what a crash left of a store being made, received or retired.
func removeLeftovers(fsys FS, dir string, current uint64) error {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list store directory %s: %w", dir, err)
	}
	slices.Sort(names)
	for _, name := range names {
		if !strings.HasPrefix(name, enginePrefix) || current > 0 && name == engineName(current) {
			continue
		}
		if err := fsys.RemoveAll(fsys.PathJoin(dir, name)); err != nil {
			return fmt.Errorf("remove left-over store %s: %w", name, err)
		}
	}
	return nil
}
