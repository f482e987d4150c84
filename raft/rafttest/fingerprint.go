package rafttest

import (
	"reflect"
	"slices"

	"chainfire/raft"
)

// hasher makes fingerprints.
type hasher struct {
	// fields are those of a struct that count.
	fields map[reflect.Type][]int
}

func newHasher() *hasher { return &hasher{fields: map[reflect.Type][]int{}} }

// fingerprint is a number that two clusters share when nothing that can happen
// to them, and nothing that the checker would say to it, is different. It covers
// every field of the cluster, down to those of the cores, disks, state machines
// and the checker, but for the uncounted ones; and the messages under way as a
// multiset, or with ordered set in the order of each way.
func (h *hasher) fingerprint(c *Cluster, ordered bool) uint64 {
	sum := h.sum(reflect.ValueOf(c).Elem())
	for _, m := range c.list {
		sum = h.numbers(sum, c, m)
	}
	var flying uint64
	for i := range c.net.flying {
		m := c.net.at(i)
		key := h.message(m)
		for j := range i {
			if before := c.net.at(j); ordered && before.From == m.From && before.To == m.To {
				key = mix(key, 1)
			}
		}
		flying += key
	}
	return mix(sum, flying)
}

// numbers adds what matters of the numbers that writes have: how many of those
// of a member are not reported yet, and whether its disk is as the checker saw it
// last on behalf of a leader.
func (h *hasher) numbers(sum uint64, c *Cluster, m *member) uint64 {
	if m.written > 0 {
		sum = mix(sum, m.seen.seq-m.written+1)
	}
	if m.disk.writes > 0 {
		sum = mix(sum, 1)
	}
	for i := range m.seen.peers {
		p := &m.seen.peers[i]
		if peer := c.members[p.status.ID]; peer != nil && peer.disk.writes == p.writes {
			sum = mix(sum, uint64(i))
		}
	}
	return mix(sum, m.id)
}

func (h *hasher) message(m *raft.Message) uint64 { return h.sum(reflect.ValueOf(m).Elem()) }

// mix is the hash of a sum after one more number.
func mix(sum, v uint64) uint64 {
	h := hash(sum)
	h.add(v)
	return uint64(h)
}

// uncounted are the fields that say nothing of what can happen.
var uncounted = []string{
	// Configuration, and who follows the run.
	"Cluster.cfg", "Cluster.engine", "Cluster.early", "Cluster.jitter", "Cluster.trace", "Cluster.watch",
	"Core.cfg", "raftLog.storage", "disk.early",
	// The past, and numbers for people.
	"Cluster.hash", "Cluster.events", "Cluster.rounds",
	// What is written over before it is read; members are those of the list.
	"Cluster.now", "Cluster.members", "member.ready", "member.statusTo", "network.arriving",
	// Messages under way are not in the order of their places.
	"network.flying", "network.slots", "network.free",
	// Numbers of writes, which stand in order anyway; see numbers.
	"Core.seq", "write.seq", "Persist.Seq", "seen.seq", "member.written", "disk.writes", "seenPeer.writes",
	// What the checker does not compare the next look with.
	"PeerStatus.Next", "PeerStatus.Active", "PeerStatus.Acked", "PeerStatus.SilentTicks",
}

// unordered are the types whose lists are searched by a key, so that their order
// says only how they came about.
var unordered = []reflect.Type{
	reflect.TypeFor[ballot](), reflect.TypeFor[written](), reflect.TypeFor[sign](), reflect.TypeFor[round](),
}

func (h *hasher) counted(t reflect.Type) []int {
	fields, ok := h.fields[t]
	if !ok {
		for i := range t.NumField() {
			if !slices.Contains(uncounted, t.Name()+"."+t.Field(i).Name) {
				fields = append(fields, i)
			}
		}
		h.fields[t] = fields
	}
	return fields
}

func (h *hasher) sum(v reflect.Value) uint64 {
	switch v.Kind() {
	case reflect.Bool:
		if v.Bool() {
			return 1
		}
		return 2
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return uint64(v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return v.Uint()
	case reflect.String:
		return sumBytes([]byte(v.String()))
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return 3
		}
		return h.sum(v.Elem())
	case reflect.Slice:
		return h.sumSlice(v)
	case reflect.Array:
		var sum uint64
		for i := range v.Len() {
			sum = mix(sum, h.sum(v.Index(i)))
		}
		return sum
	case reflect.Map:
		sum := uint64(v.Len())
		for it := v.MapRange(); it.Next(); {
			sum += mix(h.sum(it.Key()), h.sum(it.Value()))
		}
		return sum
	case reflect.Struct:
		var sum uint64
		for _, i := range h.counted(v.Type()) {
			sum = mix(sum, h.sum(v.Field(i)))
		}
		return sum
	}
	panic("rafttest: cannot hash a " + v.Type().String())
}

func (h *hasher) sumSlice(v reflect.Value) uint64 {
	t := v.Type().Elem()
	if t.Kind() == reflect.Uint8 {
		return sumBytes(v.Bytes())
	}
	sum := uint64(v.Len())
	if slices.Contains(unordered, t) {
		for i := range v.Len() {
			sum += h.sum(v.Index(i))
		}
		return sum
	}
	for i := range v.Len() {
		sum = mix(sum, h.sum(v.Index(i)))
	}
	return sum
}

func sumBytes(b []byte) uint64 {
	h := newHash()
	h.addBytes(b)
	return uint64(h)
}
