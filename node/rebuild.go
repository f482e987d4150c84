package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"syscall"
	"time"

	"chainfire"
	"chainfire/internal/sched"
	"chainfire/machine"
)

// ErrStoreDamaged says that the store is damaged, or holds less than the log
// knows to have been durable in it.
var ErrStoreDamaged = errors.New("the store is damaged")

// openStore opens the store and holds it against the floor that the log keeps
// for it: files that were lost or put back can make a store that opens without
// complaint and lacks data. A store that fails is set aside and rebuilt from
// another member; a single member has nobody to ask and is refused as it is.
func (n *Node) openStore(ctx context.Context, floor uint64) error {
	var peers []peerAddress
	_, perr := readSealed(n.opts.FS, n.path(peersFile), &peers)
	var found damage
	if _, err := readSealed(n.opts.FS, n.path(damageFile), &found); err != nil {
		return err
	}
	var err error
	if found.Reason != "" && len(peers) > 0 {
		err = errors.New(found.Reason)
	} else if err = n.openWhole(floor); err == nil {
		return nil
	}
	if obstructed(err) {
		return fmt.Errorf("open the store: %w", err)
	}
	err = fmt.Errorf("%w: %s: %w", ErrStoreDamaged, n.path(storeDir), err)
	if perr != nil {
		return errors.Join(err, perr)
	}
	if len(peers) == 0 {
		return fmt.Errorf("%w; no other member is known to hold the data: restore the data directory from a backup", err)
	}
	n.log.Error("store set aside; rebuilding it from another member", "store", n.path(quarantineDir), "err", err)
	if rerr := n.rebuild(ctx, peers, floor); rerr != nil {
		return errors.Join(err, fmt.Errorf("rebuild the store from another member: %w", rerr))
	}
	n.machine, err = machine.Open(n.machineOptions())
	if err != nil {
		return fmt.Errorf("open the rebuilt store: %w", err)
	}
	return nil
}

// openWhole opens the store if it is sound and holds the floor. What is wrong
// with it until then is an error, and does not stop the member.
func (n *Node) openWhole(floor uint64) error {
	var opened atomic.Bool
	o := n.machineOptions()
	o.Floor = floor
	fatal := o.Fatal
	o.Fatal = func(err error) {
		if opened.Load() {
			fatal(err)
		}
	}
	m, err := machine.Open(o)
	if err == nil {
		opened.Store(true)
		if err = m.Err(); err == nil {
			n.machine = m
			return nil
		}
		err = errors.Join(err, m.Close())
	}
	return err
}

// obstructed reports whether an error says nothing against what is stored: the
// same start succeeds once there is space, or permission, or a program that is new
// enough.
func obstructed(err error) bool {
	for _, e := range []error{
		syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EACCES, syscall.EPERM,
		syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, machine.ErrNewer,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// damage is what a running member found wrong with its store. Rot inside a file
// shows only when it is read: the member stops, and begins its next start by
// rebuilding the store.
type damage struct {
	Reason string `json:"reason"`
}

// noteDamage writes damage down for the next start. Any other failure, as of a
// full disk, says nothing against what is in the store.
func (n *Node) noteDamage(err error) {
	if !errors.Is(err, chainfire.ErrCorrupt) {
		return
	}
	if werr := writeSealed(n.opts.FS, n.path(damageFile), damage{err.Error()}); werr != nil {
		n.log.Warn("the damage was not written down", "err", werr)
	}
}

// rebuildTimeout bounds the search for a member to rebuild from.
const rebuildTimeout = 2 * time.Minute

// rebuild replaces the store by a snapshot of another member that holds at
// least floor. The log and the vote in it stay as they are.
func (n *Node) rebuild(ctx context.Context, peers []peerAddress, floor uint64) error {
	if err := n.wipe(seedDir); err != nil {
		return err
	}
	ctx, cancel := sched.WithTimeout(ctx, n.sched, rebuildTimeout, nil)
	defer cancel()
	var err error
	for ctx.Err() == nil {
		var errs []error
		for _, p := range peers {
			for _, u := range p.URLs {
				client, cerr := n.peerClient(p.ID, []string{u})
				if cerr == nil {
					_, cerr = n.fetch(ctx, client, p.ID, floor)
				}
				if cerr == nil {
					return n.exchange()
				}
				errs = append(errs, fmt.Errorf("from member %d: %w", p.ID, cerr))
			}
		}
		err = errors.Join(errs...)
		if perr := n.pause(ctx, time.Second); perr != nil {
			break
		}
	}
	return err
}

// exchange sets the damaged store aside and adopts the seed.
func (n *Node) exchange() error {
	if err := n.wipe(quarantineDir); err != nil {
		return err
	}
	err := n.opts.FS.Rename(n.path(storeDir), n.path(quarantineDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("set the store aside: %w", err)
	}
	if err := n.adopt(n.path(seedDir)); err != nil {
		return err
	}
	return n.wipe(damageFile)
}

// adopt makes a complete seed the store of a directory that has none.
func (n *Node) adopt(dir string) error {
	return machine.Install(n.machineOptions(), dir)
}

// peerAddress is one line of the peers file: where a member was reached that may
// hold what this one lost.
type peerAddress struct {
	ID   uint64   `json:"id"`
	URLs []string `json:"peer_urls"`
}

// rememberPeers keeps the peers file up to date. It is help for a bad day and
// nothing else is built on it, so a failure to write it is only logged.
func (n *Node) rememberPeers(members []machine.MemberRecord) {
	var peers []peerAddress
	for _, m := range members {
		if m.ID != n.id && !m.Reserved {
			peers = append(peers, peerAddress{m.ID, m.PeerURLs})
		}
	}
	b, err := json.Marshal(peers)
	if err != nil || bytes.Equal(b, n.remembered) {
		return
	}
	n.remembered = b
	if err := writeSealed(n.opts.FS, n.path(peersFile), peers); err != nil {
		n.log.Warn("the addresses of the other members were not written down", "err", err)
	}
}
