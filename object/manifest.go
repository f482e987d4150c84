package object

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"chainfire/internal/record"
)

// The parts of a completed object are its manifest: a row that counts who refers to them, and
// rows of up to manifestParts parts each. A manifest that nothing refers to any more is
// garbage, and so are parts of an upload that no object was made of: their rows stay until
// Reap has let go of the bodies, some at a time.

// manifestParts is how many parts one row of a manifest has.
const manifestParts = 256

// appendNumber appends the number of a part to what rows of parts begin with.
func appendNumber(row []byte, number int) []byte {
	return binary.BigEndian.AppendUint16(row, uint16(number))
}

// uploadParts is what the rows of an upload's parts begin with.
func uploadParts(upload uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{rowPart}, upload)
}

// writeManifest writes the parts of a new object, with one reference.
func (t *tx) writeManifest(id BodyID, parts []Part) error {
	row := bodyRow(rowManifest, id)
	if err := t.rows.Set(row, encodeRefs(1)); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	for len(parts) > 0 {
		some := parts[:min(manifestParts, len(parts))]
		if err := t.rows.Set(appendNumber(bodyRow(rowManifest, id), some[0].Number), encodeParts(some)); err != nil {
			return fmt.Errorf("write manifest: %w", err)
		}
		parts = parts[len(some):]
	}
	return nil
}

// readRefs reads how often a manifest is referred to. One that is not there is damage.
func (t *tx) readRefs(id BodyID) (uint64, error) {
	value, found, err := t.rows.Get(bodyRow(rowManifest, id))
	if err == nil && !found {
		err = fmt.Errorf("%w: it is referred to, and not there", record.ErrMalformed)
	}
	var refs uint64
	if err == nil {
		refs, err = decodeRefs(value)
	}
	if err != nil {
		return 0, fmt.Errorf("read manifest of upload %d: %w", id.Lease, err)
	}
	return refs, nil
}

// referManifest notes one more version that has the parts.
func (t *tx) referManifest(id BodyID) error {
	refs, err := t.readRefs(id)
	if err != nil {
		return err
	}
	if refs == math.MaxUint64 {
		return fmt.Errorf("the manifest of upload %d is referred to too often", id.Lease)
	}
	return t.rows.Set(bodyRow(rowManifest, id), encodeRefs(refs+1))
}

// letGoManifest takes one reference from a manifest, which with the last is garbage.
func (t *tx) letGoManifest(id BodyID) error {
	refs, err := t.readRefs(id)
	if err != nil {
		return err
	}
	row := bodyRow(rowManifest, id)
	if refs > 1 {
		return t.rows.Set(row, encodeRefs(refs-1))
	}
	if err := t.rows.Delete(row); err != nil {
		return fmt.Errorf("delete manifest: %w", err)
	}
	return t.discard(row)
}

// discard makes the rows of parts that begin with a prefix garbage.
func (t *tx) discard(prefix []byte) error {
	if err := t.rows.Set(append([]byte{rowGarbage}, prefix...), []byte{recordVersion}); err != nil {
		return fmt.Errorf("note garbage: %w", err)
	}
	return nil
}

func (t *tx) reap(*Reap) (*Result, error) {
	for left := MaxReleased; left > 0; {
		row, err := firstGarbage(t.rows)
		if err != nil || row == nil {
			return &Result{}, err
		}
		n, all, err := t.reapRows(row[1:], left)
		if err != nil {
			return nil, fmt.Errorf("reap %x: %w", row, err)
		}
		if !all {
			break
		}
		if err := t.rows.Delete(row); err != nil {
			return nil, fmt.Errorf("reap %x: %w", row, err)
		}
		left -= max(n, 1)
	}
	return &Result{}, nil
}

// firstGarbage finds the first row that says what is to be reaped, or nil.
func firstGarbage(rows Reader) (row []byte, err error) {
	err = eachRow(rows, []byte{rowGarbage}, func(r, _ []byte) (bool, error) {
		row = bytes.Clone(r)
		return false, nil
	})
	return row, err
}

// reapRows lets go of the bodies of whole rows of parts, of at most limit, which is not less
// than one row can have unless some were let go by this change. It reports how many parts
// there were, and whether that were all.
func (t *tx) reapRows(prefix []byte, limit int) (n int, all bool, err error) {
	var parts []Part
	var reaped [][]byte
	all = true
	err = eachRow(t.rows, prefix, func(row, value []byte) (bool, error) {
		more, err := appendDecodedParts(parts, row, value)
		if err != nil || len(more) > limit {
			all = false
			return false, err
		}
		parts, reaped = more, append(reaped, bytes.Clone(row))
		return true, nil
	})
	if err != nil {
		return 0, false, err
	}
	for i := range parts {
		if err := t.letGoBody(parts[i].Body); err != nil {
			return 0, false, err
		}
	}
	for _, row := range reaped {
		if err := t.rows.Delete(row); err != nil {
			return 0, false, err
		}
	}
	return len(parts), all, nil
}

// readManifest reads the parts of a version of many parts.
func readManifest(rows Reader, v *Version) ([]Part, error) {
	id := bodyRow(rowManifest, v.Body)
	parts, _, err := readParts(rows, appendNumber(id, 0), afterPrefix(id), v.Parts)
	if err == nil && len(parts) != v.Parts {
		err = fmt.Errorf("%w: it has %d parts of %d", record.ErrMalformed, len(parts), v.Parts)
	}
	if err != nil {
		return nil, fmt.Errorf("read manifest of upload %d: %w", v.Body.Lease, err)
	}
	return parts, nil
}

// readParts reads what the rows of [from, to) hold, until there are limit parts or more, and
// reports whether that were all rows.
func readParts(rows Reader, from, to []byte, limit int) (parts []Part, all bool, err error) {
	all = true
	err = walk(rows, from, to, func(row, value []byte) (bool, error) {
		if len(parts) >= limit {
			all = false
			return false, nil
		}
		parts, err = appendDecodedParts(parts, row, value)
		return true, err
	})
	return parts, all, err
}
