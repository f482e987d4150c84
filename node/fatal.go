package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
)

// Done is closed when the member has stopped, by Stop or by a failure.
func (n *Node) Done() <-chan struct{} { return n.stop }

// Err is the failure that stopped the member, or nil.
func (n *Node) Err() error {
	n.failMu.Lock()
	defer n.failMu.Unlock()
	return n.failure
}

// fatal stops the member with a reason. It is the only way out of a failed disk
// or a broken invariant: nothing is retried on what can no longer be trusted.
func (n *Node) fatal(what string, err error) {
	n.failMu.Lock()
	if n.failure == nil {
		n.failure = fmt.Errorf("%s: %w", what, err)
		level := slog.LevelError
		if errors.Is(err, ErrRemoved) {
			level = slog.LevelWarn // somebody wanted that
		}
		n.log.Log(context.Background(), level, "member stops", "reason", what, "err", err)
	}
	n.noteDamage(err)
	n.failMu.Unlock()
	n.stopOnce.Do(func() { close(n.stop) })
}
