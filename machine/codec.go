package machine

import (
	"fmt"

	"chainfire"
	"chainfire/auth"
)

// commandVersion is the first byte of an encoded command. docs/format/command.md
// describes what follows.
const commandVersion = 1

// The messages of a command. The place in a list is a field's number.
func messageCommand() message {
	return message{"command", []form{absent, number, number, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text}}
}

func messagePut() message {
	return message{"put", []form{absent, text, text, number, flag, flag, flag}}
}

func messageDelete() message { return message{"delete", []form{absent, text, text, flag}} }

func messageCompact() message { return message{"compact", []form{absent, number, flag}} }

func messageReserve() message {
	return message{"reserve", []form{absent, text, repeated, repeated, number, flag, number, text, number, flag, number}}
}

func messageCreateToken() message {
	return message{"create token", []form{absent, text, number, number}}
}

func messageRevokeToken() message { return message{"revoke token", []form{absent, number}} }

func messageRelease() message { return message{"release", []form{absent, number}} }

func messageUpdate() message {
	return message{"update", []form{absent, number, text, repeated, repeated, number, flag, text, number}}
}

// AppendTo appends the encoded command to buf. The command must be one that
// Validate accepts.
func (c *Command) AppendTo(buf []byte) []byte {
	buf = append(buf, commandVersion)
	b := appendUint(buf, 1, c.ID.Member)
	b = appendUint(b, 2, c.ID.Seq)
	if c.Caller != (auth.Identity{}) {
		b = appendMessage(b, 17, func(b []byte) []byte { return appendCaller(b, c.Caller) })
	}
	switch {
	case c.Put != nil:
		b = appendMessage(b, 3, func(b []byte) []byte { return appendPut(b, c.Put) })
	case c.Delete != nil:
		b = appendMessage(b, 4, func(b []byte) []byte { return appendDelete(b, c.Delete) })
	case c.Txn != nil:
		b = appendMessage(b, 5, func(b []byte) []byte { return appendTxn(b, c.Txn) })
	case c.Compact != nil:
		b = appendMessage(b, 6, func(b []byte) []byte {
			return appendBool(appendUint(b, 1, uint64(c.Compact.Revision)), 2, c.Compact.Physical)
		})
	case c.Reserve != nil:
		b = appendMessage(b, 7, func(b []byte) []byte { return appendReserve(b, c.Reserve) })
	case c.Release != nil:
		b = appendMessage(b, 8, func(b []byte) []byte { return appendUint(b, 1, c.Release.ID) })
	case c.UpdateMember != nil:
		b = appendMessage(b, 9, func(b []byte) []byte { return appendUpdate(b, c.UpdateMember) })
	case c.CreateToken != nil:
		b = appendMessage(b, 10, func(b []byte) []byte {
			b = appendBytes(b, 1, c.CreateToken.SecretHash)
			b = appendUint(b, 2, uint64(c.CreateToken.Expires))
			return appendUint(b, 3, c.CreateToken.Uses)
		})
	case c.RevokeToken != nil:
		b = appendMessage(b, 11, func(b []byte) []byte { return appendUint(b, 1, c.RevokeToken.ID) })
	case c.RaiseLevel != nil:
		b = appendMessage(b, 12, func(b []byte) []byte { return appendUint(b, 1, c.RaiseLevel.Level) })
	case c.GrantLease != nil:
		b = appendMessage(b, 13, func(b []byte) []byte { return appendGrantLease(b, c.GrantLease) })
	case c.RevokeLease != nil:
		b = appendMessage(b, 14, func(b []byte) []byte { return appendRevokeLease(b, c.RevokeLease) })
	case c.CheckpointLeases != nil:
		b = appendMessage(b, 15, func(b []byte) []byte { return appendCheckpointLeases(b, c.CheckpointLeases) })
	case c.SetAlarm != nil:
		b = appendMessage(b, 16, func(b []byte) []byte { return appendSetAlarm(b, c.SetAlarm) })
	case c.Auth != nil:
		b = appendMessage(b, 18, func(b []byte) []byte { return appendAuthChange(b, c.Auth) })
	case c.Authenticate != nil:
		b = appendMessage(b, 19, func(b []byte) []byte { return appendAuthenticate(b, c.Authenticate) })
	}
	return b
}

func appendPut(b []byte, r *chainfire.PutRequest) []byte {
	b = appendBytes(b, 1, r.Key)
	b = appendBytes(b, 2, r.Value)
	b = appendUint(b, 3, uint64(r.Lease))
	b = appendBool(b, 4, r.PrevKV)
	b = appendBool(b, 5, r.IgnoreValue)
	return appendBool(b, 6, r.IgnoreLease)
}

func appendReserve(b []byte, q *Reserve) []byte {
	b = appendBytes(b, 1, q.Name)
	b = appendStrings(b, 2, q.PeerURLs)
	b = appendStrings(b, 3, q.ClientURLs)
	b = appendUint(b, 4, q.Incarnation)
	b = appendBool(b, 5, q.Manual)
	b = appendUint(b, 6, q.Token)
	b = appendBytes(b, 7, q.SecretHash)
	b = appendUint(b, 8, q.Replaces)
	b = appendBool(b, 9, q.ReadReplica)
	return appendUint(b, 10, q.SeedIndex)
}

func appendUpdate(b []byte, q *UpdateMember) []byte {
	b = appendUint(b, 1, q.ID)
	b = appendBytes(b, 2, q.Name)
	b = appendStrings(b, 3, q.PeerURLs)
	b = appendStrings(b, 4, q.ClientURLs)
	b = appendUint(b, 5, q.Incarnation)
	b = appendBool(b, 6, q.Settled)
	b = appendBytes(b, 7, q.Version)
	return appendUint(b, 8, q.Level)
}

func appendDelete(b []byte, r *chainfire.DeleteRangeRequest) []byte {
	b = appendBytes(b, 1, r.Key)
	b = appendBytes(b, 2, r.RangeEnd)
	return appendBool(b, 3, r.PrevKV)
}

// DecodeCommand decodes what AppendTo made. Byte slices of the result alias b.
// Anything that this version does not know in full is refused: ErrNewer for
// what a newer version may have written, ErrMalformed otherwise.
func DecodeCommand(b []byte) (Command, error) {
	var c Command
	if len(b) == 0 {
		return c, fmt.Errorf("%w: empty command", ErrMalformed)
	}
	if b[0] != commandVersion {
		return c, fmt.Errorf("%w: command has version %d", ErrNewer, b[0])
	}
	m := messageCommand()
	if err := m.read(b[1:], c.decodeField); err != nil {
		return Command{}, err
	}
	if n := c.parts(); n != 1 {
		return Command{}, fmt.Errorf("%w: command has %d operations", ErrMalformed, n)
	}
	return c, nil
}

func (c *Command) decodeField(x field) (err error) {
	switch x.num {
	case 1:
		c.ID.Member = x.n
	case 2:
		c.ID.Seq = x.n
	case 3:
		c.Put, err = decodePut(x.bytes)
	case 4:
		c.Delete, err = decodeDelete(x.bytes)
	case 5:
		c.Txn, err = decodeTxn(x.bytes, 1)
	case 6:
		c.Compact, err = decodeCompact(x.bytes)
	case 7:
		c.Reserve, err = decodeReserve(x.bytes)
	case 8:
		c.Release, err = decodeRelease(x.bytes)
	case 9:
		c.UpdateMember, err = decodeUpdate(x.bytes)
	case 10:
		c.CreateToken, err = decodeCreateToken(x.bytes)
	case 11:
		c.RevokeToken, err = decodeRevokeToken(x.bytes)
	case 12:
		c.RaiseLevel, err = decodeRaiseLevel(x.bytes)
	case 13:
		c.GrantLease, err = decodeGrantLease(x.bytes)
	case 14:
		c.RevokeLease, err = decodeRevokeLease(x.bytes)
	case 15:
		c.CheckpointLeases, err = decodeCheckpointLeases(x.bytes)
	case 16:
		c.SetAlarm, err = decodeSetAlarm(x.bytes)
	case 17:
		c.Caller, err = decodeCaller(x.bytes)
	case 18:
		c.Auth, err = decodeAuthChange(x.bytes)
	case 19:
		c.Authenticate, err = decodeAuthenticate(x.bytes)
	}
	return err
}

func decodePut(b []byte) (*chainfire.PutRequest, error) {
	r := &chainfire.PutRequest{}
	m := messagePut()
	return r, m.read(b, func(x field) error {
		switch x.num {
		case 1:
			r.Key = x.bytes
		case 2:
			r.Value = x.bytes
		case 3:
			r.Lease = int64(x.n)
		case 4:
			r.PrevKV = x.n == 1
		case 5:
			r.IgnoreValue = x.n == 1
		case 6:
			r.IgnoreLease = x.n == 1
		}
		return nil
	})
}

func decodeDelete(b []byte) (*chainfire.DeleteRangeRequest, error) {
	r := &chainfire.DeleteRangeRequest{}
	m := messageDelete()
	return r, m.read(b, func(x field) error {
		switch x.num {
		case 1:
			r.Key = x.bytes
		case 2:
			r.RangeEnd = x.bytes
		case 3:
			r.PrevKV = x.n == 1
		}
		return nil
	})
}

func decodeCompact(b []byte) (*chainfire.CompactRequest, error) {
	r := &chainfire.CompactRequest{}
	m := messageCompact()
	return r, m.read(b, func(x field) error {
		switch x.num {
		case 1:
			r.Revision = int64(x.n)
		case 2:
			r.Physical = x.n == 1
		}
		return nil
	})
}

func decodeReserve(b []byte) (*Reserve, error) {
	r := &Reserve{}
	m := messageReserve()
	return r, m.read(b, func(x field) error {
		switch x.num {
		case 1:
			r.Name = string(x.bytes)
		case 2:
			r.PeerURLs = append(r.PeerURLs, string(x.bytes))
		case 3:
			r.ClientURLs = append(r.ClientURLs, string(x.bytes))
		case 4:
			r.Incarnation = x.n
		case 5:
			r.Manual = x.n == 1
		case 6:
			r.Token = x.n
		case 7:
			r.SecretHash = x.bytes
		case 8:
			r.Replaces = x.n
		case 9:
			r.ReadReplica = x.n == 1
		case 10:
			r.SeedIndex = x.n
		}
		return nil
	})
}

func decodeRelease(b []byte) (*Release, error) {
	r := &Release{}
	m := messageRelease()
	return r, m.read(b, func(x field) error {
		r.ID = x.n
		return nil
	})
}

func decodeUpdate(b []byte) (*UpdateMember, error) {
	r := &UpdateMember{}
	m := messageUpdate()
	return r, m.read(b, func(x field) error {
		switch x.num {
		case 1:
			r.ID = x.n
		case 2:
			r.Name = string(x.bytes)
		case 3:
			r.PeerURLs = append(r.PeerURLs, string(x.bytes))
		case 4:
			r.ClientURLs = append(r.ClientURLs, string(x.bytes))
		case 5:
			r.Incarnation = x.n
		case 6:
			r.Settled = x.n == 1
		case 7:
			r.Version = string(x.bytes)
		case 8:
			r.Level = x.n
		}
		return nil
	})
}

func decodeCreateToken(b []byte) (*CreateToken, error) {
	r := &CreateToken{}
	m := messageCreateToken()
	return r, m.read(b, func(x field) error {
		switch x.num {
		case 1:
			r.SecretHash = x.bytes
		case 2:
			r.Expires = int64(x.n)
		case 3:
			r.Uses = x.n
		}
		return nil
	})
}

func decodeRevokeToken(b []byte) (*RevokeToken, error) {
	r := &RevokeToken{}
	m := messageRevokeToken()
	return r, m.read(b, func(x field) error {
		r.ID = x.n
		return nil
	})
}
