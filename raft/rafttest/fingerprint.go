package rafttest

import (
	"math/bits"
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
// every field of the cores, disks, state machines and the checker, and the
// messages under way as a multiset, or with ordered set in the order of each way.
func (h *hasher) fingerprint(c *Cluster, ordered bool) uint64 {
	sum := h.sum(reflect.ValueOf(&c.check).Elem())
	for _, id := range c.order {
		sum = mix(sum, h.sum(reflect.ValueOf(c.members[id])))
	}
	var flying uint64
	for i := range c.net.flying {
		m := &c.net.flying[i]
		key := h.message(m)
		for j := range i {
			if before := &c.net.flying[j]; ordered && before.From == m.From && before.To == m.To {
				key = mix(key, 1)
			}
		}
		flying += key
	}
	return mix(sum, flying)
}

func (h *hasher) message(m *raft.Message) uint64 { return h.sum(reflect.ValueOf(m).Elem()) }

func mix(h, v uint64) uint64 {
	return bits.RotateLeft64((h^v)*0x9e3779b97f4a7c15, 29) * 0xbf58476d1ce4e5b9
}

// uncounted are the fields that only configure, or number what stands in order
// anyway: a member's writes are those of its queue.
var uncounted = []string{"Core.cfg", "Core.seq", "raftLog.storage", "write.seq", "Persist.Seq", "disk.early"}

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
		return sumBytes(v.String())
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return 3
		}
		return h.sum(v.Elem())
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return sumBytes(v.Bytes())
		}
		sum := uint64(v.Len())
		for i := range v.Len() {
			sum = mix(sum, h.sum(v.Index(i)))
		}
		return sum
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

func sumBytes[T string | []byte](s T) uint64 {
	sum := uint64(len(s))
	for i := range len(s) {
		sum = (sum ^ uint64(s[i])) * 1099511628211
	}
	return sum
}
