package node

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"chainfire/internal/disk"
	"chainfire/machine"
	"chainfire/raft"
)

// StaticCluster names all members of a new cluster, which begin it together, as etcd's
// --initial-cluster does: each on an empty directory, with the same list and token. They
// need no leader for that, since all begin with the same state.
type StaticCluster struct {
	// Token sets clusters apart that have the same members.
	Token string
	// Members are those that vote from the beginning, at most MaxStatic, in any order.
	Members []StaticMember
}

// StaticMember is one of them.
type StaticMember struct {
	// Name is unique in the list; the member that is started has one of the names.
	Name string
	// PeerURLs are where the others reach it, unique in the list.
	PeerURLs []string
}

// MaxStatic is how many members may begin a cluster together.
const MaxStatic = 9

// errMustJoin tells a member what it was, whose data is gone.
var errMustJoin = errors.New("a member of this name and these addresses has been in the cluster before, and its data is not here any more: " +
	"it must not vote without them, so remove it ('chainfire member remove', 'etcdctl member remove') and let it come as a new one")

func (c *StaticCluster) check(o *Options) error {
	if len(c.Members) == 0 || len(c.Members) > MaxStatic {
		return fmt.Errorf("a cluster begins with 1 to %d members, not %d", MaxStatic, len(c.Members))
	}
	if len(o.Join) > 0 {
		return errors.New("a member either begins a cluster or joins one")
	}
	if !o.Plain && !o.PeerFiles.Given() && !o.unproven() {
		return errors.New("members that begin a cluster together have no authority of their own yet: give them http:// peer addresses, " +
			"or certificates (--peer-cert-file, --peer-key-file, --peer-trusted-ca-file)")
	}
	names, urls, own := map[string]bool{}, map[string]string{}, false
	for _, m := range c.Members {
		if m.Name == "" || names[m.Name] || len(m.PeerURLs) == 0 {
			return fmt.Errorf("each member needs a name that no other has, and a peer address: look at %q", m.Name)
		}
		names[m.Name] = true
		for _, u := range m.PeerURLs {
			if other, taken := urls[u]; taken {
				return fmt.Errorf("%s is the peer address of %q and of %q", u, other, m.Name)
			}
			urls[u] = m.Name
		}
		if m.Name == o.Name {
			own = true
			for _, u := range o.peerURLs() {
				if u != "" && !slices.Contains(m.PeerURLs, u) {
					return fmt.Errorf("the list of members has %s for %q, which is to be reached at %s: write the same",
						strings.Join(m.PeerURLs, ","), m.Name, u)
				}
			}
		}
	}
	if !own {
		return fmt.Errorf("no member of the list is called %q", o.Name)
	}
	return nil
}

// sorted is the list in the order in which ids are given.
func (c *StaticCluster) sorted() []StaticMember {
	out := slices.Clone(c.Members)
	slices.SortFunc(out, func(a, b StaticMember) int { return strings.Compare(a.Name, b.Name) })
	for i := range out {
		out[i].PeerURLs = slices.Sorted(slices.Values(out[i].PeerURLs))
	}
	return out
}

// number is the cluster's id, to which all members come by themselves; it is never 0.
func (c *StaticCluster) number() uint64 {
	h := sha256.New()
	text := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	text(c.Token)
	for _, m := range c.sorted() {
		text(m.Name)
		for _, u := range m.PeerURLs {
			text(u)
		}
	}
	return binary.BigEndian.Uint64(h.Sum(nil)) | 1
}

// bootstrapStatic writes the state in which all members of a new cluster begin.
func (n *Node) bootstrapStatic() (identity, error) {
	c := n.opts.Static
	init := machine.Init{ClusterID: c.number(), Term: firstTerm}
	id := identity{Cluster: init.ClusterID, Name: n.opts.Name}
	for i, m := range c.sorted() {
		// Which directory is whose the members tell through the log (tryIntroduce): the one
		// in the place of a directory that was lost is another one.
		r := machine.MemberRecord{ID: uint64(i + 1), Name: m.Name, PeerURLs: m.PeerURLs}
		if m.Name == n.opts.Name {
			id.Member, id.Incarnation = r.ID, n.random()
		}
		init.Members = append(init.Members, r)
		init.Conf.Voters = append(init.Conf.Voters, r.ID)
	}
	// Ids that come later are those of entries, and none of these.
	init.Index = max(firstIndex, uint64(len(init.Members)))
	if err := n.wipe(walDir, storeDir, sealFile); err != nil {
		return id, err
	}
	if err := machine.Bootstrap(n.machineOptions(), init); err != nil {
		return id, fmt.Errorf("make the store of a new cluster: %w", err)
	}
	if err := n.createLog(init.Index, firstTerm, raft.HardState{Term: firstTerm, Commit: init.Index}); err != nil {
		return id, err
	}
	if id.Member == init.Members[0].ID {
		if err := n.oweFirstKey(); err != nil {
			return id, err
		}
	}
	if err := saveIdentity(n.opts.FS, n.opts.Dir, id); err != nil {
		return id, err
	}
	n.log.Info("new cluster of several members", "cluster", fmt.Sprintf("%x", id.Cluster), "member", id.Member, "name", id.Name, "members", len(init.Members))
	return id, nil
}

// forget makes the directory of a member that must not begin what it was before: an empty
// one, whose making was not finished.
func (n *Node) forget() error {
	if err := writeSealed(n.opts.FS, n.path(foundingFile), struct{}{}); err != nil {
		return err
	}
	if err := n.opts.FS.Remove(n.path(identityFile)); err != nil {
		return fmt.Errorf("remove %s: %w", n.path(identityFile), err)
	}
	return disk.SyncDir(n.opts.FS, n.opts.Dir)
}
