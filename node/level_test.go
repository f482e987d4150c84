package node_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chainfire/machine"
	"chainfire/node"
)

// program makes options those of a program of a version that knows a level.
func program(o node.Options, version string, level uint64) node.Options {
	o.Version, o.Bounds.FeatureLevel = version, level
	return o
}

// mustTell waits until a member tells which versions the members run, in the order of
// their ids, and the feature level.
func mustTell(t *testing.T, n *node.Node, level uint64, versions ...string) {
	t.Helper()
	want := fmt.Sprint(level, versions)
	eventually(t, "status "+want, func() error {
		s, err := n.ClusterStatus(t.Context())
		if err != nil {
			return err
		}
		var have []string
		for _, m := range s.Members {
			have = append(have, m.Version)
		}
		if got := fmt.Sprint(s.FeatureLevel, have); got != want {
			return errors.New(got)
		}
		return nil
	})
}

// mustNotStart starts a member that must be refused, with this in the error, and of
// this kind unless that is nil.
func mustNotStart(t *testing.T, o node.Options, kind error, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	n, err := node.Start(ctx, o)
	if err == nil {
		stop(t, n)
		t.Fatalf("%s started", o.Name)
	}
	if !strings.Contains(err.Error(), want) || kind != nil && !errors.Is(err, kind) || errors.Is(err, node.ErrStoreDamaged) {
		t.Fatalf("%v\nis not, or is of another kind than: %s", err, want)
	}
}

// TestLevelRisesWithTheLastMemberThatIsUpgradedAndThenThereIsNoWayBack upgrades three
// members one by one. One may go back, until the last one has come.
func TestLevelRisesWithTheLastMemberThatIsUpgradedAndThenThereIsNoWayBack(t *testing.T) {
	const older, newer = "0.1.1", "0.1.2"
	var opts [3]node.Options
	var members [3]*node.Node
	for i, name := range []string{"a", "b", "c"} {
		var via []string
		if i > 0 {
			via = []string{peerAddr(t, members[0])}
		}
		opts[i] = options(t, name, via...)
		members[i] = start(t, program(opts[i], older, 1))
		opts[i].ListenPeer = strings.TrimPrefix(members[i].AdvertisePeer(), "https://")
	}
	voters(t, 3, members[:]...)
	mustTell(t, members[0], 1, older, older, older)
	restart := func(i int, version string, level uint64) {
		t.Helper()
		stop(t, members[i])
		members[i] = start(t, program(opts[i], version, level))
		put(t, members[i], "k", version)
	}
	restart(0, newer, 2)
	mustTell(t, members[1], 1, newer, older, older)
	restart(1, newer, 2)
	mustTell(t, members[2], 1, newer, newer, older)
	restart(1, older, 1)
	mustTell(t, members[2], 1, newer, older, older)
	restart(1, newer, 2)
	restart(2, newer, 2)
	for _, n := range members {
		mustTell(t, n, 2, newer, newer, newer)
	}

	stop(t, members[2])
	const knows = "the cluster is at feature level 2, this program knows 1: install version " + newer + " or newer"
	mustNotStart(t, program(opts[2], older, 1), machine.ErrNewer, knows)
	if aside, err := filepath.Glob(filepath.Join(opts[2].Dir, "store-*")); err != nil || len(aside) > 0 {
		t.Errorf("a store that is only too new was set aside: %v, %v", aside, err)
	}
	late := options(t, "d", peerAddr(t, members[0]))
	mustNotStart(t, program(late, older, 1), nil, "the cluster is at feature level 2 and the newcomer at")
	if left, err := os.ReadDir(filepath.Join(late.Dir, "store")); err == nil {
		t.Errorf("the refused newcomer has a store: %v", left)
	}
	members[2] = start(t, program(opts[2], newer, 2))
	if v := get(t, members[2], "k"); v != newer {
		t.Errorf("read %q", v)
	}
	start(t, program(late, newer, 2))
	mustTell(t, members[0], 2, newer, newer, newer, newer)
}

func TestAVersionThatIsTooLongIsRefusedAtTheStart(t *testing.T) {
	mustNotStart(t, program(options(t, "a"), strings.Repeat("1", machine.MaxVersionLen+1), 1), nil, "build it with a shorter one")
}
