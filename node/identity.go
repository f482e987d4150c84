package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"

	"chainfire/internal/disk"
)

// identity says which member a data directory is. It is written last when a
// directory is made, as the mark that the directory is complete, and never
// changed: a member's id is never used again, and a copied or wiped directory
// is told apart by its incarnation.
type identity struct {
	Cluster     uint64 `json:"cluster_id"`
	Member      uint64 `json:"member_id"`
	Incarnation uint64 `json:"incarnation"`
	Name        string `json:"name"`
	// RecoveredFrom is the cluster that the directory was of before Recover; 0 is
	// none.
	RecoveredFrom uint64 `json:"recovered_from,omitempty"`
}

// sealed is a small file with the checksum of its body.
type sealed struct {
	Body   json.RawMessage `json:"body"`
	CRC32C uint32          `json:"crc32c"`
}

const (
	identityFile = "member.json"
	joiningFile  = "joining.json"
)

// maxSealed bounds the small files.
const maxSealed = 1 << 20

func castagnoli(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

func writeSealed(f disk.FS, path string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	data, err := json.Marshal(sealed{Body: body, CRC32C: castagnoli(body)})
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	if err := disk.WriteFileAtomic(f, path, append(data, '\n')); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func readSealed(f disk.FS, path string, v any) (found bool, err error) {
	data, err := disk.ReadFile(f, path, maxSealed)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	var s sealed
	if err := json.Unmarshal(data, &s); err != nil {
		return false, fmt.Errorf("%s is damaged: %w; restore the file from a backup, or wipe the data directory and join again", path, err)
	}
	if castagnoli(s.Body) != s.CRC32C {
		return false, fmt.Errorf("%s is damaged: its checksum does not match; restore the file from a backup, or wipe the data directory and join again", path)
	}
	if err := json.Unmarshal(s.Body, v); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	return true, nil
}

func loadIdentity(f disk.FS, dir string) (identity, bool, error) {
	var id identity
	found, err := readSealed(f, f.PathJoin(dir, identityFile), &id)
	return id, found, err
}

func saveIdentity(f disk.FS, dir string, id identity) error {
	return writeSealed(f, f.PathJoin(dir, identityFile), id)
}
