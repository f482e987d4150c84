package join

import (
	"strings"
	"testing"

	"chainfire/api"
)

// answerOfThree is of a cluster of members 1 to 3, of which the third is not to seed
// anybody; one more comes in the place of the second, under its name.
func answerOfThree() *api.JoinResponse {
	return &api.JoinResponse{
		Members: []*api.Member{{Id: 1, Name: "a"}, {Id: 2, Name: "b"}, {Id: 3, Name: "c"}, {Id: 9, Name: "b"}},
		Sources: []*api.SnapshotSource{{MemberId: 2, PeerUrl: "http://10.0.0.2:2380"}, {MemberId: 1, PeerUrl: "http://10.0.0.1:2380"}},
	}
}

func TestNewcomerIsSeededByTheMemberItNamesAndByNoOther(t *testing.T) {
	for who, want := range map[string]string{
		"":    "10.0.0.2:2380 10.0.0.1:2380",
		"a":   "10.0.0.1:2380",
		"1":   "10.0.0.1:2380",
		"0x2": "10.0.0.2:2380",
		// Only one of the two that are called so may seed.
		"b": "10.0.0.2:2380",
	} {
		c := &Newcomer{opts: NewcomerOptions{BootstrapFrom: who}}
		from, err := c.sources(answerOfThree())
		if err != nil {
			t.Errorf("%q: %v", who, err)
			continue
		}
		var got []string
		for _, s := range from {
			got = append(got, s.addr)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: seeded by %v, want %s", who, got, want)
		}
	}
}

func TestSourceThatCannotBeIsRefusedWithThoseThatCan(t *testing.T) {
	for who, want := range map[string]string{
		"c": "member 3 (c) is not a voter that is up",
		"3": "member 3 (c) is not a voter that is up",
		"x": `no member is called "x"`,
		"9": "member 9 (b) is not a voter that is up",
	} {
		c := &Newcomer{opts: NewcomerOptions{BootstrapFrom: who}}
		_, err := c.sources(answerOfThree())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "can be seeded by 2 (b), 1 (a)") {
			t.Errorf("%q: %v", who, err)
		}
	}
	none := &api.JoinResponse{Sources: []*api.SnapshotSource{{MemberId: 2, PeerUrl: "nowhere"}}}
	if _, err := (&Newcomer{}).sources(none); err == nil || !strings.Contains(err.Error(), "member 2") {
		t.Errorf("without an address: %v", err)
	}
}
