package raft

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"chainfire/raft/confchange"
)

func TestChangeSurvivesItsEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := confchange.Change{Joint: rapid.Bool().Draw(t, "joint")}
		for range rapid.IntRange(0, 20).Draw(t, "steps") {
			want.Steps = append(want.Steps, confchange.Step{
				Kind: confchange.Kind(rapid.IntRange(0, 2).Draw(t, "kind")), ID: rapid.Uint64().Draw(t, "id"),
			})
		}
		if b := rapid.SliceOf(rapid.Byte()).Draw(t, "context"); len(b) > 0 {
			want.Context = b
		}
		got, err := DecodeChange(EncodeChange(want))
		if err != nil || !cmp.Equal(got, want) {
			t.Fatalf("%v: %s", err, cmp.Diff(want, got))
		}
	})
}

func TestMalformedChangeIsRefused(t *testing.T) {
	for name, b := range map[string][]byte{
		"empty":          {},
		"header only":    {1, 0},
		"version":        {2, 0, 0},
		"flags":          {1, 2, 0},
		"endless count":  {1, 0, 0xff},
		"many steps":     {1, 0, 0xff, 0x7f},
		"missing step":   {1, 0, 1},
		"unknown kind":   {1, 0, 1, 3, 1},
		"endless member": {1, 0, 1, 0, 0xff},
	} {
		if c, err := DecodeChange(b); err == nil {
			t.Errorf("%s: decoded as %+v", name, c)
		}
	}
}

func FuzzDecodeChange(f *testing.F) {
	f.Add(EncodeChange(confchange.Change{}))
	f.Add(EncodeChange(confchange.Change{
		Steps: []confchange.Step{{Kind: confchange.AddLearner, ID: 1 << 40}, {Kind: confchange.Remove, ID: 2}},
		Joint: true, Context: []byte("context"),
	}))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeChange(b)
		if err != nil {
			return
		}
		again, err := DecodeChange(EncodeChange(c))
		if err != nil || !cmp.Equal(again, c) {
			t.Fatalf("%v: %s", err, cmp.Diff(c, again))
		}
	})
}
