package snapshot

import (
	"encoding/binary"
	"fmt"
)

// The stored forms begin with eight bytes that tell them apart and end with a
// CRC-32C of everything before it.
const (
	markMagic    = "CFSNAPM1"
	partialMagic = "CFSNAPP1"
	crcSize      = 4
	minFileBytes = 7
)

// Encode returns the stored form of a manifest.
func (m *Manifest) Encode() []byte {
	return seal(markMagic, m.appendTo(nil))
}

// sum is the checksum at the end of the stored form: the name of the content.
func (m *Manifest) sum() uint32 {
	b := m.Encode()
	return binary.LittleEndian.Uint32(b[len(b)-crcSize:])
}

// DecodeManifest reads the stored form. It never panics, and allocates in
// proportion to b only. Errors wrap ErrManifest.
func DecodeManifest(b []byte) (*Manifest, error) {
	body, err := unseal(markMagic, b)
	if err != nil {
		return nil, err
	}
	return decodeBody(body)
}

func encodePartial(o Offer) []byte {
	b := binary.AppendUvarint(nil, uint64(len(o.ID)))
	b = append(b, o.ID...)
	return seal(partialMagic, o.Manifest.appendTo(b))
}

func decodePartial(b []byte) (Offer, error) {
	body, err := unseal(partialMagic, b)
	if err != nil {
		return Offer{}, err
	}
	d := &decoder{b: body}
	o := Offer{ID: string(d.bytes(maxID))}
	if d.err != nil {
		return Offer{}, d.err
	}
	o.Manifest, err = decodeBody(d.b)
	return o, err
}

func seal(magic string, body []byte) []byte {
	b := append([]byte(magic), body...)
	return binary.LittleEndian.AppendUint32(b, checksum(b))
}

func unseal(magic string, b []byte) ([]byte, error) {
	if len(b) < len(magic)+crcSize || string(b[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: %d bytes that do not begin with %s", ErrManifest, len(b), magic)
	}
	end := len(b) - crcSize
	if got, want := checksum(b[:end]), binary.LittleEndian.Uint32(b[end:]); got != want {
		return nil, fmt.Errorf("%w: checksum %08x, expected %08x", ErrManifest, got, want)
	}
	return b[len(magic):end], nil
}

func (m *Manifest) appendTo(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, m.Meta.ClusterID)
	b = binary.AppendUvarint(b, m.Meta.Index)
	b = binary.AppendUvarint(b, m.Meta.Term)
	c := &m.Meta.Conf
	for _, l := range [][]uint64{c.Voters, c.Outgoing, c.Learners, c.LearnersNext} {
		b = binary.AppendUvarint(b, uint64(len(l)))
		for _, id := range l {
			b = binary.AppendUvarint(b, id)
		}
	}
	if c.AutoLeave {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(m.Files)))
	for i := range m.Files {
		f := &m.Files[i]
		b = binary.AppendUvarint(b, uint64(len(f.Name)))
		b = append(b, f.Name...)
		b = binary.AppendUvarint(b, uint64(f.Size))
		b = binary.LittleEndian.AppendUint32(b, f.CRC)
		for _, crc := range f.Blocks {
			b = binary.LittleEndian.AppendUint32(b, crc)
		}
	}
	return b
}

func decodeBody(b []byte) (*Manifest, error) {
	d := &decoder{b: b}
	m := &Manifest{}
	if raw := d.take(8); len(raw) == 8 {
		m.Meta.ClusterID = binary.LittleEndian.Uint64(raw)
	}
	m.Meta.Index, m.Meta.Term = d.uvarint(), d.uvarint()
	c := &m.Meta.Conf
	for _, l := range []*[]uint64{&c.Voters, &c.Outgoing, &c.Learners, &c.LearnersNext} {
		for range d.count("member ids", 1) {
			*l = append(*l, d.uvarint())
		}
	}
	if v := d.take(1); len(v) == 1 {
		c.AutoLeave = v[0] == 1
	}
	n := d.count("files", minFileBytes)
	if n > 0 && d.err == nil {
		m.Files = make([]File, n)
	}
	for i := range m.Files {
		d.file(&m.Files[i])
	}
	if d.err == nil && len(d.b) > 0 {
		d.fail("%d bytes after the last file", len(d.b))
	}
	if d.err != nil {
		return nil, d.err
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return m, nil
}

// decoder reads a body; the first failure sticks.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{ErrManifest}, args...)...)
		d.b = nil
	}
}

func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.fail("ends early")
		return nil
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail("bad number")
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads the length of a list whose items take at least size bytes each.
func (d *decoder) count(what string, size int) int {
	n := d.uvarint()
	if n > uint64(len(d.b)/size) {
		d.fail("%d %s in %d bytes", n, what, len(d.b))
		return 0
	}
	return int(n)
}

func (d *decoder) bytes(limit int) []byte {
	n := d.count("bytes", 1)
	if n > limit {
		d.fail("%d bytes, the limit is %d", n, limit)
		return nil
	}
	return d.take(n)
}

func (d *decoder) file(f *File) {
	f.Name = string(d.bytes(maxName))
	size := d.uvarint()
	raw := d.take(crcSize)
	if d.err != nil {
		return
	}
	f.CRC = binary.LittleEndian.Uint32(raw)
	f.Size = int64(size)
	if f.Size < 0 || blocksOf(f.Size) > int64(len(d.b)/crcSize) {
		d.fail("file %q of %d bytes in %d bytes", f.Name, size, len(d.b))
		return
	}
	if n := int(blocksOf(f.Size)); n > 0 {
		f.Blocks = make([]uint32, n)
		for i := range f.Blocks {
			f.Blocks[i] = binary.LittleEndian.Uint32(d.take(crcSize))
		}
	}
}
