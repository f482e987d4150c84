package mvcc

import (
	"bytes"
	"slices"
)

// overlay holds what a round of writes has changed and the engine does not have
// yet, so that the round reads its own writes.
type overlay struct {
	keys map[string]*overlayKey
	// order holds the keys; the first sorted of them are in order.
	order  []*overlayKey
	sorted int
}

// overlayKey is one key that the round changed. Its versions are in the order
// they were made.
type overlayKey struct {
	key      []byte
	versions []version
	// wasLive says that the key was live before the round.
	wasLive bool
}

// add notes a version. Whether the key was live before it counts the first time.
func (o *overlay) add(key []byte, v version, live bool) {
	if o.keys == nil {
		o.keys = map[string]*overlayKey{}
	}
	k := o.keys[string(key)]
	if k == nil {
		k = &overlayKey{key: key, wasLive: live}
		o.keys[string(key)] = k
		o.order = append(o.order, k)
	}
	k.versions = append(k.versions, v)
}

// live reports whether the key is live as the round has left it.
func (k *overlayKey) live() bool { return !k.versions[len(k.versions)-1].tombstone }

// at is the newest version at or below a revision; nil when the round made none.
func (k *overlayKey) at(rev int64) *version {
	for i := len(k.versions) - 1; i >= 0; i-- {
		if k.versions[i].rev.Main <= rev {
			return &k.versions[i]
		}
	}
	return nil
}

// get is the newest version of a key at or below a revision; nil when the round
// made none.
func (o *overlay) get(key []byte, rev int64) *version {
	if k := o.keys[string(key)]; k != nil {
		return k.at(rev)
	}
	return nil
}

// within lists the changed keys of an interval in order.
func (o *overlay) within(iv interval) []*overlayKey {
	cmp := func(a, b *overlayKey) int { return bytes.Compare(a.key, b.key) }
	if o.sorted < len(o.order) {
		slices.SortFunc(o.order, cmp)
		o.sorted = len(o.order)
	}
	from, _ := slices.BinarySearchFunc(o.order, &overlayKey{key: iv.from}, cmp)
	rest := o.order[from:]
	n, _ := slices.BinarySearchFunc(rest, iv, func(k *overlayKey, iv interval) int {
		if iv.contains(k.key) {
			return -1
		}
		return 1
	})
	return rest[:n]
}

// merged walks an interval as the engine and the overlay together hold it.
type merged struct {
	under closingWalker
	over  []*overlayKey
	rev   int64

	// loaded says that under is at a key that was not handed out yet; the
	// engine's walk has ended when it is not and done is set.
	loaded, done bool
	key          []byte
	v            *version
}

func (m *merged) next() bool {
	for {
		if !m.loaded && !m.done {
			m.loaded = m.under.next()
			m.done = !m.loaded
			if m.done && m.under.err() != nil {
				return false
			}
		}
		var underKey []byte
		if m.loaded {
			underKey, _ = m.under.entry()
		}
		switch {
		case len(m.over) > 0 && (!m.loaded || bytes.Compare(m.over[0].key, underKey) <= 0):
			k := m.over[0]
			m.over = m.over[1:]
			v := k.at(m.rev)
			if v == nil {
				continue // changed after the revision being read
			}
			if m.loaded && bytes.Equal(k.key, underKey) {
				m.loaded = false
			}
			if v.tombstone {
				continue
			}
			m.key, m.v = k.key, v
			return true
		case m.loaded:
			m.loaded = false
			m.key, m.v = m.under.entry()
			return true
		default:
			return false
		}
	}
}

func (m *merged) entry() ([]byte, *version) { return m.key, m.v }
func (m *merged) err() error                { return m.under.err() }
func (m *merged) close() error              { return m.under.close() }
