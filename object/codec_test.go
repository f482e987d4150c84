package object_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"

	"chainfire/internal/record"
	"chainfire/object"
)

// TestEveryKindOfChangeIsDrawn keeps the tests below complete.
func TestEveryKindOfChangeIsDrawn(t *testing.T) {
	kinds := reflect.TypeFor[object.Change]().NumField() - 1 // all but the time
	if len(drawKinds) != kinds {
		t.Errorf("%d kinds of changes are drawn, there are %d", len(drawKinds), kinds)
	}
}

func TestAChangeIsDecodedAsItWasEncoded(t *testing.T) {
	for name, draw := range drawKinds {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				c := &object.Change{Time: rapid.Int64Range(0, 1<<42).Draw(t, "time")}
				draw(drawn{t}, c)
				if err := c.Validate(); err != nil {
					t.Fatalf("drew a change that is refused: %v", err)
				}
				b := c.AppendTo([]byte("before"))[len("before"):]
				got, err := object.DecodeChange(b)
				if err != nil {
					t.Fatalf("decode: %v", err)
				}
				if d := cmp.Diff(c, got); d != "" {
					t.Fatalf("decoded another change: %s", d)
				}
				if again := got.AppendTo(nil); !bytes.Equal(b, again) {
					t.Fatalf("encoded again it is %x, was %x", again, b)
				}
			})
		})
	}
}

func TestWhatANewerVersionWroteIsRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawn{t}.change().AppendTo(nil)
		_, err := object.DecodeChange(record.AppendUint(b, 40, 1))
		if !errors.Is(err, record.ErrNewer) {
			t.Fatalf("a field that is not known: %v", err)
		}
	})
}

func TestADamagedChangeIsRefused(t *testing.T) {
	reap := (&object.Change{Reap: &object.Reap{}}).AppendTo(nil)
	lease := (&object.Change{CloseLease: &object.CloseLease{ID: 7}}).AppendTo(nil)
	body := func(f func(b []byte) []byte) []byte {
		return record.AppendMessage(nil, 6, func(b []byte) []byte { return record.AppendMessage(b, 9, f) })
	}
	run := func(b []byte, count uint64) []byte {
		return record.AppendMessage(b, 6, func(b []byte) []byte { return record.AppendUint(b, 1, count) })
	}
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"nothing":             {nil, record.ErrMalformed},
		"only a time":         {record.AppendUint(nil, 1, 5), record.ErrMalformed},
		"two changes":         {append(bytes.Clone(reap), lease...), record.ErrMalformed},
		"cut off":             {lease[:len(lease)-1], record.ErrMalformed},
		"not even a tag":      {[]byte{0xff}, record.ErrMalformed},
		"no versioning":       {record.AppendMessage(nil, 4, func(b []byte) []byte { return record.AppendUint(b, 2, 3) }), record.ErrNewer},
		"part 10001":          {record.AppendMessage(nil, 11, func(b []byte) []byte { return record.AppendUint(b, 4, 10001) }), record.ErrMalformed},
		"a body with refs":    {body(func(b []byte) []byte { return record.AppendUint(b, 1, 1) }), record.ErrMalformed},
		"a negative size":     {body(func(b []byte) []byte { return record.AppendUint(b, 2, 1<<63) }), record.ErrMalformed},
		"CRCs of no extents":  {body(func(b []byte) []byte { return record.AppendBytes(b, 5, []byte{1, 2, 3, 4}) }), record.ErrMalformed},
		"a size of none":      {body(func(b []byte) []byte { return record.AppendUint(b, 4, 5) }), record.ErrMalformed},
		"extents without CRC": {body(func(b []byte) []byte { return run(record.AppendUint(record.AppendUint(b, 2, 5), 4, 5), 1) }), record.ErrMalformed},
		"a run of no extents": {body(func(b []byte) []byte { return run(b, 0) }), record.ErrMalformed},
		"a run without end":   {body(func(b []byte) []byte { return run(b, 1<<62) }), record.ErrMalformed},
		"sizes that do not add up": {body(func(b []byte) []byte {
			b = record.AppendUint(record.AppendUint(b, 2, 11), 4, 5)
			return run(record.AppendBytes(b, 5, make([]byte, 8)), 2)
		}), record.ErrMalformed},
		"more deletes than there may be": {record.AppendMessage(nil, 8, func(b []byte) []byte {
			for range object.MaxDeletes + 1 {
				b = record.AppendMessage(b, 2, func(b []byte) []byte { return b })
			}
			return b
		}), record.ErrMalformed},
		"more parts than there may be": {record.AppendMessage(nil, 12, func(b []byte) []byte {
			for range object.MaxParts + 1 {
				b = record.AppendMessage(b, 4, func(b []byte) []byte { return b })
			}
			return b
		}), record.ErrMalformed},
		"another wire type": {protowire.AppendFixed32(protowire.AppendTag(nil, 1, protowire.Fixed32Type), 1), record.ErrNewer},
	} {
		if _, err := object.DecodeChange(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func FuzzDecodeChange(f *testing.F) {
	for i := range 200 {
		f.Add(rapid.Custom(func(t *rapid.T) []byte { return drawn{t}.change().AppendTo(nil) }).Example(i))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := object.DecodeChange(b)
		if err != nil {
			if c != nil || !errors.Is(err, record.ErrNewer) && !errors.Is(err, record.ErrMalformed) {
				t.Fatalf("%+v, %v", c, err)
			}
			return
		}
		_ = c.Validate() // must not panic; what is decoded may be out of bounds
		again, err := object.DecodeChange(c.AppendTo(nil))
		if err != nil {
			t.Fatalf("what was decoded cannot be encoded and decoded: %v", err)
		}
		if d := cmp.Diff(c, again, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("encoded and decoded it is another: %s", d)
		}
	})
}
