package test

import (
	"context"
	"errors"
	"os"
	"testing"
)

// copyOf is a member on a copy of another one's data directory, on ports of its
// own.
func (m *member) copyOf() *member {
	m.t.Helper()
	n := here.newMember(m.t, m.name)
	if err := os.CopyFS(n.dir, os.DirFS(m.dir)); err != nil {
		m.t.Fatal(err)
	}
	return n
}

// mustBeRefusedAsACopy starts a member that must not take part.
func (m *member) mustBeRefusedAsACopy(words ...string) {
	m.t.Helper()
	m.launch()
	m.mustFail(patience, append(words, "another process has the identity of this data directory", "chainfire seed prepare")...)
}

func TestCopyOfARunningMembersDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"alone": 1, "of three": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var c *cluster
			if size == 1 {
				c = oneMember(t)
			} else {
				c = here.newCluster(t)
			}
			a := c.members[0]
			a.stop()
			dup := a.copyOf()
			a.start()
			a.awaitServing()
			if size == 1 {
				dup.mustBeRefusedAsACopy("it answers at https://" + a.peer)
			}
			dup.mustBeRefusedAsACopy()
			// Nothing happened to the one that runs.
			a.awaitServing()
			c.awaitVoters(size, size)
			// Not even once it is down: the copy's vote is out of date.
			if size == 3 {
				a.kill()
				dup.mustBeRefusedAsACopy("knows of a later start")
				a.start()
				c.awaitVoters(size, size)
			}
		})
	}
}

// TestMovedDirectoryStartsAndTheOneItWasMovedFromDoesNot copies a directory and goes
// on with the copy, in the place of the original.
func TestMovedDirectoryStartsAndTheOneItWasMovedFromDoesNot(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t)
	b := c.followers()[0]
	b.stop()
	moved := b.copyOf()
	moved.client, moved.peer = b.client, b.peer
	moved.start()
	moved.awaitServing()
	for i := range c.members {
		if c.members[i] == b {
			c.members[i] = moved
		}
	}
	c.awaitVoters(3, 3)
	b.client, b.peer = here.port(t), here.port(t)
	for range 2 {
		b.mustBeRefusedAsACopy()
	}
	moved.kill()
	for range 2 {
		b.mustBeRefusedAsACopy("knows of a later start of member")
	}
	moved.start()
	c.awaitVoters(3, 3)
}

// TestLaterStartIsRememberedThroughARestartOfEverybody starts the original after its
// copy, when nobody remembers the copy but by what was written down.
func TestLaterStartIsRememberedThroughARestartOfEverybody(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t)
	b := c.followers()[0]
	b.stop()
	moved := b.copyOf()
	moved.client, moved.peer = b.client, b.peer
	moved.start()
	moved.awaitServing()
	moved.stop()
	for _, m := range c.members {
		if m != b {
			m.stop()
			m.launch()
		}
	}
	for _, m := range c.running() {
		m.awaitServing()
	}
	b.mustBeRefusedAsACopy("knows of a later start")
}

func TestRestartIsNeverTakenForACopy(t *testing.T) {
	t.Parallel()
	c := here.newCluster(t)
	m := c.followers()[0]
	for range 5 {
		m.kill()
		m.launch()
		m.await("a word to the others", patience, func(context.Context) error {
			if m.log("connected to peer") == 0 {
				return errors.New("none yet")
			}
			return nil
		})
	}
	m.awaitServing()
	c.awaitVoters(3, 3)
}
