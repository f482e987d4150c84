package object

import (
	"fmt"
	"math"

	"chainfire/internal/record"
)

// maxExtents bounds the extents of one body: those of the largest, were they of 64 KiB.
const maxExtents = MaxPutSize / (64 << 10)

// inlineBit is set in the N of bodies that are inline, and in no other's. They have rows of a
// kind of their own, so that whoever looks for extents need not walk all small objects.
const inlineBit = 1 << 31

// bodyRowOf is the row of a body.
func bodyRowOf(id BodyID) []byte {
	if id.N&inlineBit != 0 {
		return bodyRow(rowInline, id)
	}
	return bodyRow(rowBody, id)
}

// storedBody is what the row of a body holds.
type storedBody struct {
	// refs is how many versions, manifests and parts name the body; never 0 in a row.
	refs uint64
	Body
}

// getBody reads what the row of a body holds that something refers to: one that is not there is
// damage, not an answer.
func getBody(rows Reader, id BodyID) ([]byte, error) {
	value, found, err := rows.Get(bodyRowOf(id))
	if err == nil && !found {
		err = fmt.Errorf("%w: it is referred to, and not there", record.ErrMalformed)
	}
	if err != nil {
		return nil, fmt.Errorf("read body %d.%d: %w", id.Lease, id.N, err)
	}
	return value, nil
}

func readBodyRow(rows Reader, id BodyID) (*storedBody, error) {
	value, err := getBody(rows, id)
	if err != nil {
		return nil, err
	}
	return decodeBody(id, value)
}

func (t *tx) writeBody(b *storedBody) error {
	return t.rows.Set(bodyRowOf(b.ID), b.encode())
}

// checkForm checks what must hold of a body by itself.
func (b *Body) checkForm() error {
	switch {
	case b.Size < 0:
		return fmt.Errorf("%w: a body of %d bytes", ErrInvalid, b.Size)
	case b.Size > MaxPutSize:
		return fmt.Errorf("%w: a body of %d bytes, more than %d", ErrTooLarge, b.Size, int64(MaxPutSize))
	case len(b.Inline) > 0 && len(b.Extents) > 0:
		return fmt.Errorf("%w: a body that is inline and has extents", ErrInvalid)
	case len(b.Inline) > MaxInline:
		return fmt.Errorf("%w: %d bytes are inline, more than %d", ErrTooLarge, len(b.Inline), MaxInline)
	case len(b.Extents) == 0:
		if int64(len(b.Inline)) != b.Size {
			return fmt.Errorf("%w: a body of %d bytes has %d inline and no extent", ErrInvalid, b.Size, len(b.Inline))
		}
		return nil
	case b.ID.Lease == 0 || b.ID.N&inlineBit != 0:
		return fmt.Errorf("%w: a body of extents named %d.%d", ErrInvalid, b.ID.Lease, b.ID.N)
	}
	return b.checkExtents()
}

// checkExtents checks that the extents, of which there is one, are of one length but the last,
// which may be shorter, and make up the body.
func (b *Body) checkExtents() error {
	if len(b.Extents) > maxExtents {
		return fmt.Errorf("%w: a body of %d extents, more than %d", ErrTooLarge, len(b.Extents), maxExtents)
	}
	first, last := b.Extents[0].Size, len(b.Extents)-1
	if first == 0 || first > MaxExtent {
		return fmt.Errorf("%w: an extent of %d bytes, not 1 to %d", ErrInvalid, first, MaxExtent)
	}
	var size int64
	for i := range b.Extents {
		e := &b.Extents[i]
		if e.Size != first && (i < last || e.Size == 0 || e.Size > first) {
			return fmt.Errorf("%w: extent %d of %d has %d bytes, the first %d", ErrInvalid, i, last+1, e.Size, first)
		}
		size += int64(e.Size)
	}
	if size != b.Size {
		return fmt.Errorf("%w: the extents of a body of %d bytes have %d", ErrInvalid, b.Size, size)
	}
	return nil
}

// checkBody refuses a body that cannot be adopted. It changes nothing.
func (t *tx) checkBody(b *Body) error {
	if err := b.checkForm(); err != nil {
		return err
	}
	if len(b.Extents) == 0 {
		return nil
	}
	_, open, err := t.rows.Get(leaseRow(b.ID.Lease))
	switch {
	case err != nil:
		return fmt.Errorf("read lease %d: %w", b.ID.Lease, err)
	case !open:
		return fmt.Errorf("%w: %d", ErrLeaseGone, b.ID.Lease)
	}
	_, taken, err := t.rows.Get(bodyRowOf(b.ID))
	switch {
	case err != nil:
		return fmt.Errorf("read body %d.%d: %w", b.ID.Lease, b.ID.N, err)
	case taken:
		return fmt.Errorf("%w: body %d.%d is taken", ErrInvalid, b.ID.Lease, b.ID.N)
	}
	for i := range b.Extents {
		if b.Extents[i].External() {
			continue
		}
		id := ExtentID{Body: b.ID, N: uint32(i)}
		if placed := t.placed(id); !majority(placed, b.Extents[i].Holders) {
			return fmt.Errorf("%w: extent %d is on members %d of %d", ErrHolders, i, b.Extents[i].Holders, placed)
		}
	}
	return nil
}

// majority reports whether more than half of the members that are to hold an extent do.
func majority(placed, holders []uint64) bool {
	have := 0
	for _, member := range placed {
		for _, h := range holders {
			if h == member {
				have++
				break
			}
		}
	}
	return 2*have > len(placed)
}

// adopt writes a body that checkBody has passed, with one reference, which is the caller's to
// keep: in a version, or in a part. No bytes are no body.
func (t *tx) adopt(b *Body) (BodyID, error) {
	if b.Size == 0 {
		return BodyID{}, nil
	}
	stored := storedBody{refs: 1, Body: *b}
	if len(b.Extents) == 0 {
		// The index is one of this change, and so not a lease's.
		stored.ID = BodyID{Lease: t.index, N: uint32(t.made) | inlineBit}
		t.made++
	}
	if err := t.writeBody(&stored); err != nil {
		return BodyID{}, fmt.Errorf("write body: %w", err)
	}
	return stored.ID, nil
}

// refer notes one more version with the same bytes.
func (t *tx) refer(v *Version) error {
	if v.Parts > 0 {
		return t.referManifest(v.Body)
	}
	if v.Body == (BodyID{}) {
		return nil
	}
	b, err := readBodyRow(t.rows, v.Body)
	if err != nil {
		return err
	}
	if b.refs == math.MaxUint64 {
		return fmt.Errorf("body %d.%d is referred to too often", v.Body.Lease, v.Body.N)
	}
	b.refs++
	return t.writeBody(b)
}

// letGo notes that a version is no more: its bytes go with the last version that has them.
func (t *tx) letGo(v *Version) error {
	if err := t.forgetDone(v); err != nil {
		return err
	}
	if v.Parts > 0 {
		return t.letGoManifest(v.Body)
	}
	return t.letGoBody(v.Body)
}

// letGoBody takes one reference from a body, and the body with the last.
func (t *tx) letGoBody(id BodyID) error {
	if id == (BodyID{}) {
		return nil
	}
	value, err := getBody(t.rows, id)
	if err != nil {
		return err
	}
	// Most bodies have one reference: how many is read without their extents.
	refs, err := decodeBodyRefs(id, value)
	if err != nil {
		return err
	}
	if refs == 1 {
		return t.rows.Delete(bodyRowOf(id))
	}
	b, err := decodeBody(id, value)
	if err != nil {
		return err
	}
	b.refs--
	return t.writeBody(b)
}
