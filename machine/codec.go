package machine

import (
	"fmt"

	"chainfire"
	"chainfire/auth"
	"chainfire/internal/record"
	"chainfire/object"
)

// commandVersion is the first byte of an encoded command. docs/format/command.md
// describes what follows.
const commandVersion = 1

// The messages of a command. The place in a list is a field's number.
func messageCommand() record.Message {
	return record.New("command", record.Number, record.Number, record.Text, record.Text, record.Text, record.Text, record.Text, record.Text, record.Text, record.Text, record.Text, record.Text, record.Text, record.Text, record.Text, record.Text, record.Text, record.Text, record.Text, record.Text)
}

func messagePut() record.Message {
	return record.New("put", record.Text, record.Text, record.Number, record.Flag, record.Flag, record.Flag)
}

func messageDelete() record.Message {
	return record.New("delete", record.Text, record.Text, record.Flag)
}

func messageCompact() record.Message { return record.New("compact", record.Number, record.Flag) }

func messageReserve() record.Message {
	return record.New("reserve", record.Text, record.Repeated, record.Repeated, record.Number, record.Flag, record.Number, record.Text, record.Number, record.Flag, record.Number)
}

func messageCreateToken() record.Message {
	return record.New("create token", record.Text, record.Number, record.Number)
}

func messageRevokeToken() record.Message { return record.New("revoke token", record.Number) }

func messageRelease() record.Message { return record.New("release", record.Number) }

func messageUpdate() record.Message {
	return record.New("update", record.Number, record.Text, record.Repeated, record.Repeated, record.Number, record.Flag, record.Text, record.Number)
}

// AppendTo appends the encoded command to buf. The command must be one that
// Validate accepts.
func (c *Command) AppendTo(buf []byte) []byte {
	buf = append(buf, commandVersion)
	b := record.AppendUint(buf, 1, c.ID.Member)
	b = record.AppendUint(b, 2, c.ID.Seq)
	if c.Caller != (auth.Identity{}) {
		b = record.AppendMessage(b, 17, func(b []byte) []byte { return appendCaller(b, c.Caller) })
	}
	switch {
	case c.Put != nil:
		b = record.AppendMessage(b, 3, func(b []byte) []byte { return appendPut(b, c.Put) })
	case c.Delete != nil:
		b = record.AppendMessage(b, 4, func(b []byte) []byte { return appendDelete(b, c.Delete) })
	case c.Txn != nil:
		b = record.AppendMessage(b, 5, func(b []byte) []byte { return appendTxn(b, c.Txn) })
	case c.Compact != nil:
		b = record.AppendMessage(b, 6, func(b []byte) []byte {
			return record.AppendBool(record.AppendUint(b, 1, uint64(c.Compact.Revision)), 2, c.Compact.Physical)
		})
	case c.Reserve != nil:
		b = record.AppendMessage(b, 7, func(b []byte) []byte { return appendReserve(b, c.Reserve) })
	case c.Release != nil:
		b = record.AppendMessage(b, 8, func(b []byte) []byte { return record.AppendUint(b, 1, c.Release.ID) })
	case c.UpdateMember != nil:
		b = record.AppendMessage(b, 9, func(b []byte) []byte { return appendUpdate(b, c.UpdateMember) })
	case c.CreateToken != nil:
		b = record.AppendMessage(b, 10, func(b []byte) []byte {
			b = record.AppendBytes(b, 1, c.CreateToken.SecretHash)
			b = record.AppendUint(b, 2, uint64(c.CreateToken.Expires))
			return record.AppendUint(b, 3, c.CreateToken.Uses)
		})
	case c.RevokeToken != nil:
		b = record.AppendMessage(b, 11, func(b []byte) []byte { return record.AppendUint(b, 1, c.RevokeToken.ID) })
	case c.RaiseLevel != nil:
		b = record.AppendMessage(b, 12, func(b []byte) []byte { return record.AppendUint(b, 1, c.RaiseLevel.Level) })
	case c.GrantLease != nil:
		b = record.AppendMessage(b, 13, func(b []byte) []byte { return appendGrantLease(b, c.GrantLease) })
	case c.RevokeLease != nil:
		b = record.AppendMessage(b, 14, func(b []byte) []byte { return appendRevokeLease(b, c.RevokeLease) })
	case c.CheckpointLeases != nil:
		b = record.AppendMessage(b, 15, func(b []byte) []byte { return appendCheckpointLeases(b, c.CheckpointLeases) })
	case c.SetAlarm != nil:
		b = record.AppendMessage(b, 16, func(b []byte) []byte { return appendSetAlarm(b, c.SetAlarm) })
	case c.Auth != nil:
		b = record.AppendMessage(b, 18, func(b []byte) []byte { return appendAuthChange(b, c.Auth) })
	case c.Authenticate != nil:
		b = record.AppendMessage(b, 19, func(b []byte) []byte { return appendAuthenticate(b, c.Authenticate) })
	case c.Object != nil:
		b = record.AppendMessage(b, 20, c.Object.AppendTo)
	}
	return b
}

func appendPut(b []byte, r *chainfire.PutRequest) []byte {
	b = record.AppendBytes(b, 1, r.Key)
	b = record.AppendBytes(b, 2, r.Value)
	b = record.AppendUint(b, 3, uint64(r.Lease))
	b = record.AppendBool(b, 4, r.PrevKV)
	b = record.AppendBool(b, 5, r.IgnoreValue)
	return record.AppendBool(b, 6, r.IgnoreLease)
}

func appendReserve(b []byte, q *Reserve) []byte {
	b = record.AppendBytes(b, 1, q.Name)
	b = record.AppendStrings(b, 2, q.PeerURLs)
	b = record.AppendStrings(b, 3, q.ClientURLs)
	b = record.AppendUint(b, 4, q.Incarnation)
	b = record.AppendBool(b, 5, q.Manual)
	b = record.AppendUint(b, 6, q.Token)
	b = record.AppendBytes(b, 7, q.SecretHash)
	b = record.AppendUint(b, 8, q.Replaces)
	b = record.AppendBool(b, 9, q.ReadReplica)
	return record.AppendUint(b, 10, q.SeedIndex)
}

func appendUpdate(b []byte, q *UpdateMember) []byte {
	b = record.AppendUint(b, 1, q.ID)
	b = record.AppendBytes(b, 2, q.Name)
	b = record.AppendStrings(b, 3, q.PeerURLs)
	b = record.AppendStrings(b, 4, q.ClientURLs)
	b = record.AppendUint(b, 5, q.Incarnation)
	b = record.AppendBool(b, 6, q.Settled)
	b = record.AppendBytes(b, 7, q.Version)
	return record.AppendUint(b, 8, q.Level)
}

func appendDelete(b []byte, r *chainfire.DeleteRangeRequest) []byte {
	b = record.AppendBytes(b, 1, r.Key)
	b = record.AppendBytes(b, 2, r.RangeEnd)
	return record.AppendBool(b, 3, r.PrevKV)
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
	if err := m.Read(b[1:], c.decodeField); err != nil {
		return Command{}, err
	}
	if n := c.parts(); n != 1 {
		return Command{}, fmt.Errorf("%w: command has %d operations", ErrMalformed, n)
	}
	return c, nil
}

func (c *Command) decodeField(x record.Field) (err error) {
	switch x.Num {
	case 1:
		c.ID.Member = x.N
	case 2:
		c.ID.Seq = x.N
	case 3:
		c.Put, err = decodePut(x.Bytes)
	case 4:
		c.Delete, err = decodeDelete(x.Bytes)
	case 5:
		c.Txn, err = decodeTxn(x.Bytes, 1)
	case 6:
		c.Compact, err = decodeCompact(x.Bytes)
	case 7:
		c.Reserve, err = decodeReserve(x.Bytes)
	case 8:
		c.Release, err = decodeRelease(x.Bytes)
	case 9:
		c.UpdateMember, err = decodeUpdate(x.Bytes)
	case 10:
		c.CreateToken, err = decodeCreateToken(x.Bytes)
	case 11:
		c.RevokeToken, err = decodeRevokeToken(x.Bytes)
	case 12:
		c.RaiseLevel, err = decodeRaiseLevel(x.Bytes)
	case 13:
		c.GrantLease, err = decodeGrantLease(x.Bytes)
	case 14:
		c.RevokeLease, err = decodeRevokeLease(x.Bytes)
	case 15:
		c.CheckpointLeases, err = decodeCheckpointLeases(x.Bytes)
	case 16:
		c.SetAlarm, err = decodeSetAlarm(x.Bytes)
	case 17:
		c.Caller, err = decodeCaller(x.Bytes)
	case 18:
		c.Auth, err = decodeAuthChange(x.Bytes)
	case 19:
		c.Authenticate, err = decodeAuthenticate(x.Bytes)
	case 20:
		c.Object, err = object.DecodeChange(x.Bytes)
	}
	return err
}

func decodePut(b []byte) (*chainfire.PutRequest, error) {
	r := &chainfire.PutRequest{}
	m := messagePut()
	return r, m.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			r.Key = x.Bytes
		case 2:
			r.Value = x.Bytes
		case 3:
			r.Lease = int64(x.N)
		case 4:
			r.PrevKV = x.N == 1
		case 5:
			r.IgnoreValue = x.N == 1
		case 6:
			r.IgnoreLease = x.N == 1
		}
		return nil
	})
}

func decodeDelete(b []byte) (*chainfire.DeleteRangeRequest, error) {
	r := &chainfire.DeleteRangeRequest{}
	m := messageDelete()
	return r, m.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			r.Key = x.Bytes
		case 2:
			r.RangeEnd = x.Bytes
		case 3:
			r.PrevKV = x.N == 1
		}
		return nil
	})
}

func decodeCompact(b []byte) (*chainfire.CompactRequest, error) {
	r := &chainfire.CompactRequest{}
	m := messageCompact()
	return r, m.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			r.Revision = int64(x.N)
		case 2:
			r.Physical = x.N == 1
		}
		return nil
	})
}

func decodeReserve(b []byte) (*Reserve, error) {
	r := &Reserve{}
	m := messageReserve()
	return r, m.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			r.Name = string(x.Bytes)
		case 2:
			r.PeerURLs = append(r.PeerURLs, string(x.Bytes))
		case 3:
			r.ClientURLs = append(r.ClientURLs, string(x.Bytes))
		case 4:
			r.Incarnation = x.N
		case 5:
			r.Manual = x.N == 1
		case 6:
			r.Token = x.N
		case 7:
			r.SecretHash = x.Bytes
		case 8:
			r.Replaces = x.N
		case 9:
			r.ReadReplica = x.N == 1
		case 10:
			r.SeedIndex = x.N
		}
		return nil
	})
}

func decodeRelease(b []byte) (*Release, error) {
	r := &Release{}
	m := messageRelease()
	return r, m.Read(b, func(x record.Field) error {
		r.ID = x.N
		return nil
	})
}

func decodeUpdate(b []byte) (*UpdateMember, error) {
	r := &UpdateMember{}
	m := messageUpdate()
	return r, m.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			r.ID = x.N
		case 2:
			r.Name = string(x.Bytes)
		case 3:
			r.PeerURLs = append(r.PeerURLs, string(x.Bytes))
		case 4:
			r.ClientURLs = append(r.ClientURLs, string(x.Bytes))
		case 5:
			r.Incarnation = x.N
		case 6:
			r.Settled = x.N == 1
		case 7:
			r.Version = string(x.Bytes)
		case 8:
			r.Level = x.N
		}
		return nil
	})
}

func decodeCreateToken(b []byte) (*CreateToken, error) {
	r := &CreateToken{}
	m := messageCreateToken()
	return r, m.Read(b, func(x record.Field) error {
		switch x.Num {
		case 1:
			r.SecretHash = x.Bytes
		case 2:
			r.Expires = int64(x.N)
		case 3:
			r.Uses = x.N
		}
		return nil
	})
}

func decodeRevokeToken(b []byte) (*RevokeToken, error) {
	r := &RevokeToken{}
	m := messageRevokeToken()
	return r, m.Read(b, func(x record.Field) error {
		r.ID = x.N
		return nil
	})
}
