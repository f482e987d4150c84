package machine

import (
	"errors"

	"chainfire"
	"chainfire/auth"
	"chainfire/internal/record"
	"chainfire/object"
)

// Errors of commands, in addition to those of package chainfire.
var (
	// ErrMalformed says that bytes are no command, or no other record of this
	// package.
	ErrMalformed = record.ErrMalformed
	// ErrNewer says that a newer version of the program wrote a record, so that
	// this one must not act on a part of it.
	ErrNewer = record.ErrNewer
	// ErrMemberNameExists refuses a name that another member has.
	ErrMemberNameExists = errors.New("member name already exists")
	// ErrMemberRemoved refuses an id that was removed, or given up, before.
	ErrMemberRemoved = errors.New("member id was removed and never returns")
	// ErrNotReserved refuses to release what is not a reservation.
	ErrNotReserved = errors.New("member is not a reservation")
	// ErrNotReplaceable refuses a newcomer that is to take the place of a member
	// that is only a reservation, or promised to another newcomer, and one that was
	// promised another place, or was added by hand.
	ErrNotReplaceable = errors.New("member cannot be replaced by this newcomer")
	// ErrVotersChanged refuses a membership change that was decided on for other
	// voters than there are.
	ErrVotersChanged = errors.New("the voters have changed since the membership change was decided on")
	// ErrBadMember refuses a description of a member that is out of bounds.
	ErrBadMember = errors.New("bad member description")
)

// RequestID says who waits for the result of a command: the Seq-th request of a
// member. The zero value is nobody.
type RequestID struct {
	Member, Seq uint64
}

// Command is the data of a normal log entry: exactly one of its pointers is
// set.
type Command struct {
	ID RequestID
	// Caller is who asks for what clients ask for, where that is known.
	Caller           auth.Identity
	Put              *chainfire.PutRequest
	Delete           *chainfire.DeleteRangeRequest
	Txn              *chainfire.TxnRequest
	Compact          *chainfire.CompactRequest
	Reserve          *Reserve
	Release          *Release
	UpdateMember     *UpdateMember
	CreateToken      *CreateToken
	RevokeToken      *RevokeToken
	RaiseLevel       *RaiseLevel
	GrantLease       *GrantLease
	RevokeLease      *RevokeLease
	CheckpointLeases *CheckpointLeases
	SetAlarm         *SetAlarm
	Auth             *auth.Change
	Authenticate     *Authenticate
	Object           *object.Change
}

// Reserve asks for a member id that was never used before: the index of the
// command's entry. The record it makes is not in the configuration yet.
//
// Asked again with the same incarnation and peer URLs it returns the same id.
// If a member that was added by hand, and has not started, has exactly these
// peer URLs, it is claimed: the record takes the incarnation and its id is
// returned. Otherwise it is refused with ErrMemberNameExists or
// chainfire.ErrPeerURLExists when another member has the name or one of the
// URLs.
type Reserve struct {
	Name                 string
	PeerURLs, ClientURLs []string
	// Incarnation is the random mark of the newcomer's data directory; 0 is a
	// reservation by hand, which is never the same as another.
	Incarnation uint64
	// Manual says that an operator adds the member, and promotes it.
	Manual bool
	// Token is the join token that lets the newcomer in, of which it takes a use;
	// 0 asks for none. The leader has checked the secret and the time. A reservation
	// that is made is refused with ErrNoToken where the token is gone.
	Token uint64
	// ReadReplica says that the member is to stay a learner, for reads alone. Asked
	// again before it is in the configuration, the last word counts.
	ReadReplica bool
	// SecretHash is kept in the record until the newcomer is in the configuration,
	// so that it may ask again when its token is used up.
	SecretHash []byte
	// Replaces is the member whose place the newcomer takes, 0 is nobody's: it may
	// have that member's name and URLs, and is promised its place (MemberRecord).
	// Refused with chainfire.ErrMemberNotFound where there is no such member,
	// ErrNotReplaceable where it may not be replaced by this one. Asked again by the
	// same newcomer 0 leaves the promise as it is.
	Replaces uint64
	// SeedIndex is the last entry of a snapshot that the newcomer has brought along,
	// after which the log is kept for it; 0 keeps it from the reservation on.
	SeedIndex uint64
}

// Release gives a reservation up. Its id is as good as removed. It is refused
// with chainfire.ErrMemberNotFound or ErrNotReserved.
type Release struct {
	ID uint64
}

// UpdateMember changes what is known of a member; empty fields stay as they
// are. It is refused with chainfire.ErrMemberNotFound, ErrMemberNameExists or
// chainfire.ErrPeerURLExists.
type UpdateMember struct {
	ID                   uint64
	Name                 string
	PeerURLs, ClientURLs []string
	Incarnation          uint64
	// Settled says that the member has caught up: the log need not be kept from
	// its reservation on any more.
	Settled bool
	// Version is that of the member's program, of at most MaxVersionLen bytes, and
	// Level the feature level that it knows.
	Version string
	Level   uint64
}

// Validate checks what a command must fulfil whatever the state is. A command
// that passes is one that every member decodes; nothing else may be proposed.
func (c *Command) Validate() error {
	if c.parts() != 1 {
		return ErrMalformed
	}
	switch {
	case c.Put != nil:
		return c.Put.Validate()
	case c.Delete != nil:
		return c.Delete.Validate()
	case c.Txn != nil:
		return c.Txn.Validate()
	case c.Reserve != nil:
		return checkMember(c.Reserve.Name, c.Reserve.PeerURLs, c.Reserve.ClientURLs)
	case c.UpdateMember != nil:
		return c.UpdateMember.check()
	case c.GrantLease != nil:
		return c.GrantLease.check()
	case c.CheckpointLeases != nil:
		return c.CheckpointLeases.check()
	case c.SetAlarm != nil:
		return c.SetAlarm.check()
	case c.Auth != nil:
		return c.Auth.Bounded()
	case c.Authenticate != nil:
		return c.Authenticate.check()
	case c.Object != nil:
		return c.Object.Validate()
	}
	return nil
}

// parts counts the operations that are set.
func (c *Command) parts() int {
	n := 0
	for _, set := range [...]bool{
		c.Put != nil, c.Delete != nil, c.Txn != nil, c.Compact != nil,
		c.Reserve != nil, c.Release != nil, c.UpdateMember != nil, c.CreateToken != nil, c.RevokeToken != nil,
		c.RaiseLevel != nil, c.GrantLease != nil, c.RevokeLease != nil, c.CheckpointLeases != nil,
		c.SetAlarm != nil, c.Auth != nil, c.Authenticate != nil, c.Object != nil,
	} {
		if set {
			n++
		}
	}
	return n
}

// Bounds of a member's description.
const (
	maxURLs    = 32
	maxURLLen  = 2048
	maxNameLen = 256
	// MaxVersionLen bounds the version of a member's program, in bytes.
	MaxVersionLen = 128
)

func (q *UpdateMember) check() error {
	if err := checkMemberVersion(q.Version); err != nil {
		return err
	}
	return checkMember(q.Name, q.PeerURLs, q.ClientURLs)
}

func checkMember(name string, peer, client []string) error {
	if len(name) > maxNameLen || len(peer) > maxURLs || len(client) > maxURLs {
		return ErrBadMember
	}
	for _, l := range [2][]string{peer, client} {
		for _, url := range l {
			if url == "" || len(url) > maxURLLen {
				return ErrBadMember
			}
		}
	}
	return nil
}
