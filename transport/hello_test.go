package transport

import (
	"reflect"
	"strings"
	"testing"
)

func TestHelloSurvivesTheWireWithAndWithoutWhatMayFollow(t *testing.T) {
	for _, h := range []Hello{
		{Version: 1, MinVersion: 1, ClusterID: 2, From: 3, To: 4, Incarnation: 5, Expected: 6, BootNonce: 7},
		{From: 3, Addrs: []string{"a:1", "b:2"}},
		{From: 3, Boots: 8},
		{From: 3, Addrs: []string{"a:1"}, Boots: 9},
	} {
		got, err := decodeHello(encodeHello(h))
		if err != nil || !reflect.DeepEqual(got, h) {
			t.Errorf("%+v came as %+v, %v", h, got, err)
		}
		// What a later version may add is ignored.
		if h.Boots != 0 {
			if got, err = decodeHello(append(encodeHello(h), 1, 2, 3)); err != nil || !reflect.DeepEqual(got, h) {
				t.Errorf("%+v with more came as %+v, %v", h, got, err)
			}
		}
	}
	got, err := decodeHello(encodeHello(Hello{From: 3, Addrs: []string{strings.Repeat("a", maxAddrsLen+1)}, Boots: 4}))
	if err != nil || got.Addrs != nil || got.Boots != 4 {
		t.Errorf("too long an address: %+v, %v", got, err)
	}
}
