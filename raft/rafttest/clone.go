package rafttest

import (
	"reflect"
	"unsafe"

	"chainfire/raft"
	"chainfire/raft/confchange"
)

// cloner copies clusters with everything in them, so that a search can go on
// from one state in several ways. It copies whatever fields there are, also
// those of the cores, so that a new field cannot be forgotten; what nobody ever
// modifies is shared.
type cloner struct {
	recipes map[reflect.Type]*recipe
	// seen maps what pointers point at to its copy, during one cloning.
	seen map[unsafe.Pointer]reflect.Value
}

// recipe says how values of one type are copied.
type recipe struct {
	// flat values are copied by assignment.
	flat bool
	// deep are the fields of a struct that are not.
	deep []int
}

func newCloner() *cloner { return &cloner{recipes: map[reflect.Type]*recipe{}} }

// clone copies a cluster of cores.
func (k *cloner) clone(c *Cluster) *Cluster {
	k.seen = map[unsafe.Pointer]reflect.Value{}
	n := new(Cluster)
	k.copy(reflect.ValueOf(n).Elem(), reflect.ValueOf(c).Elem())
	n.now = raft.Status{} // its lists are written over
	for _, m := range n.list {
		if m.up() {
			n.rebind(m)
		}
	}
	return n
}

// rebind makes a copied core belong to its new cluster: the log that it reads is
// that of its new disk, and chance is the new cluster's.
func (c *Cluster) rebind(m *member) {
	core, written := reflect.ValueOf(m.core).Elem(), reflect.ValueOf(&m.disk.written)
	field(field(core, "cfg"), "Storage").Set(written)
	field(field(core, "log"), "storage").Set(written)
	id := m.id
	jitter := func(n int) int { return c.jitter(id, n) }
	field(field(core, "cfg"), "Jitter").Set(reflect.ValueOf(jitter))
	m.statusTo = m.core.(*raft.Core).StatusTo
}

// unmodified are types whose values are never modified once they are made, and
// the storage of a core, which is replaced.
func unmodified(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[raft.Entry](), reflect.TypeFor[raft.Message](), reflect.TypeFor[*raft.Persist](),
		reflect.TypeFor[*raft.SnapshotMeta](), reflect.TypeFor[confchange.State](), reflect.TypeFor[raft.Storage](),
		reflect.TypeFor[error](), reflect.TypeFor[[]byte]():
		return true
	}
	return false
}

func (k *cloner) recipe(t reflect.Type) *recipe {
	if p := k.recipes[t]; p != nil {
		return p
	}
	p := &recipe{}
	switch {
	case unmodified(t):
		p.flat = true
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			if !k.recipe(t.Field(i).Type).flat {
				p.deep = append(p.deep, i)
			}
		}
		p.flat = len(p.deep) == 0
	default:
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		case reflect.Chan, reflect.UnsafePointer:
			panic("rafttest: cannot copy a " + t.String())
		case reflect.Array:
			if p.flat = k.recipe(t.Elem()).flat; !p.flat {
				panic("rafttest: cannot copy a " + t.String())
			}
		default:
			p.flat = true
		}
	}
	k.recipes[t] = p
	return p
}

// field is a field of an addressable struct, also one that is not exported.
func field(v reflect.Value, name string) reflect.Value { return writable(v.FieldByName(name)) }

func writable(v reflect.Value) reflect.Value {
	return reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
}

// copy sets dst to a copy of src. Both are addressable.
func (k *cloner) copy(dst, src reflect.Value) {
	p := k.recipe(src.Type())
	dst.Set(src)
	if p.flat {
		return
	}
	switch src.Kind() {
	case reflect.Struct:
		for _, i := range p.deep {
			k.copy(writable(dst.Field(i)), writable(src.Field(i)))
		}
	case reflect.Pointer:
		dst.Set(k.pointer(src))
	case reflect.Interface:
		if !src.IsNil() {
			dst.Set(k.pointer(src.Elem()))
		}
	case reflect.Slice:
		k.copySlice(dst, src)
	case reflect.Map:
		k.copyMap(dst, src)
	}
}

func (k *cloner) copySlice(dst, src reflect.Value) {
	if src.IsNil() {
		return
	}
	dst.Set(reflect.MakeSlice(src.Type(), src.Len(), src.Len()))
	reflect.Copy(dst, src)
	if k.recipe(src.Type().Elem()).flat {
		return
	}
	for i := range src.Len() {
		k.copy(dst.Index(i), src.Index(i))
	}
}

func (k *cloner) copyMap(dst, src reflect.Value) {
	if src.IsNil() {
		return
	}
	t := src.Type()
	n := reflect.MakeMapWithSize(t, src.Len())
	isFlat := k.recipe(t.Elem()).flat
	for it := src.MapRange(); it.Next(); {
		if isFlat {
			n.SetMapIndex(it.Key(), it.Value())
			continue
		}
		from, to := reflect.New(t.Elem()).Elem(), reflect.New(t.Elem()).Elem()
		from.Set(it.Value())
		k.copy(to, from)
		n.SetMapIndex(it.Key(), to)
	}
	dst.Set(n)
}

// pointer copies what a pointer points at, once.
func (k *cloner) pointer(src reflect.Value) reflect.Value {
	if src.Kind() != reflect.Pointer {
		panic("rafttest: cannot copy a " + src.Type().String())
	}
	if src.IsNil() {
		return src
	}
	if n, ok := k.seen[src.UnsafePointer()]; ok && n.Type() == src.Type() {
		return n
	}
	n := reflect.New(src.Type().Elem())
	k.seen[src.UnsafePointer()] = n
	k.copy(n.Elem(), src.Elem())
	return n
}
