package object

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"chainfire/internal/record"
)

// kind is one of the changes that a Change can be: how it is written, read, checked and performed.
// Its number among the kinds, plus fieldFirst, is that of its field.
type kind struct {
	is     func(*Change) bool
	append func([]byte, *Change) []byte
	read   func([]byte, *Change) error
	check  func(*Change) error
	// apply makes all its checks before its first write: rows cannot take one back.
	apply func(*tx, *Change) (*Result, error)
}

// kindOf puts a kind together of what is done with the field of Change that is its own.
func kindOf[T any](field func(*Change) **T, add func([]byte, *T) []byte, read func([]byte, *T) error, check func(*T) error, apply func(*tx, *T) (*Result, error)) kind {
	return kind{
		is:     func(c *Change) bool { return *field(c) != nil },
		append: func(b []byte, c *Change) []byte { return add(b, *field(c)) },
		read: func(b []byte, c *Change) error {
			q := new(T)
			*field(c) = q
			return read(b, q)
		},
		check: func(c *Change) error { return check(*field(c)) },
		apply: func(t *tx, c *Change) (*Result, error) { return apply(t, *field(c)) },
	}
}

// Fields of a change: when it is, and what, by kind.
const (
	fieldTime  = 1
	fieldFirst = 2
)

// kinds are in the order of their fields, so that new ones come last.
var kinds = [...]kind{
	kindOf(func(c *Change) **CreateBucket { return &c.CreateBucket }, appendCreateBucket, readCreateBucket, (*CreateBucket).validate, (*tx).createBucket),
	kindOf(func(c *Change) **DeleteBucket { return &c.DeleteBucket }, appendDeleteBucket, readDeleteBucket, (*DeleteBucket).validate, (*tx).deleteBucket),
	kindOf(func(c *Change) **SetBucket { return &c.SetBucket }, appendSetBucket, readSetBucket, (*SetBucket).validate, (*tx).changeBucket),
	kindOf(func(c *Change) **SetConfig { return &c.SetConfig }, appendSetConfig, readSetConfig, (*SetConfig).validate, (*tx).setConfig),
	kindOf(func(c *Change) **Put { return &c.Put }, appendPut, readPut, (*Put).validate, (*tx).put),
	kindOf(func(c *Change) **Copy { return &c.Copy }, appendCopy, readCopy, (*Copy).validate, (*tx).copy),
	kindOf(func(c *Change) **Delete { return &c.Delete }, appendDelete, readDelete, (*Delete).validate, (*tx).delete),
	kindOf(func(c *Change) **SetObject { return &c.SetObject }, appendSetObject, readSetObject, (*SetObject).validate, (*tx).setObject),
	kindOf(func(c *Change) **CreateUpload { return &c.CreateUpload }, appendCreateUpload, readCreateUpload, (*CreateUpload).validate, (*tx).createUpload),
	kindOf(func(c *Change) **PutPart { return &c.PutPart }, appendPutPart, readPutPart, (*PutPart).validate, (*tx).putPart),
	kindOf(func(c *Change) **Complete { return &c.Complete }, appendComplete, readComplete, (*Complete).validate, (*tx).complete),
	kindOf(func(c *Change) **Abort { return &c.Abort }, appendAbort, readAbort, (*Abort).validate, (*tx).abort),
	kindOf(func(c *Change) **OpenLease { return &c.OpenLease }, appendOpenLease, readOpenLease, (*OpenLease).validate, (*tx).openLease),
	kindOf(func(c *Change) **CloseLease { return &c.CloseLease }, appendCloseLease, readCloseLease, (*CloseLease).validate, (*tx).closeLease),
	kindOf(func(c *Change) **CloseLeases { return &c.CloseLeases }, appendCloseLeases, readCloseLeases, (*CloseLeases).validate, (*tx).closeLeases),
	kindOf(func(c *Change) **SetKey { return &c.SetKey }, appendSetKey, readSetKey, (*SetKey).validate, (*tx).setKey),
	kindOf(func(c *Change) **DeleteKey { return &c.DeleteKey }, appendDeleteKey, readDeleteKey, (*DeleteKey).validate, (*tx).deleteKey),
	kindOf(func(c *Change) **Reap { return &c.Reap }, appendReap, readReap, (*Reap).validate, (*tx).reap),
}

// messageChange has a number, the time, and a message for each kind.
var messageChange = record.New("change", func() []record.Form {
	forms := []record.Form{record.Number}
	for range kinds {
		forms = append(forms, record.Text)
	}
	return forms
}()...)

// AppendTo appends the encoded change to b. The change must be one that Validate accepts.
func (c *Change) AppendTo(b []byte) []byte {
	b = record.AppendUint(b, fieldTime, uint64(c.Time))
	for i, k := range kinds {
		if k.is(c) {
			b = record.AppendMessage(b, protowire.Number(fieldFirst+i), func(b []byte) []byte { return k.append(b, c) })
		}
	}
	return b
}

// DecodeChange decodes what AppendTo made; byte slices of the result alias b. Anything that this
// version does not know in full is refused with record.ErrNewer, other flaws with
// record.ErrMalformed. What Validate would refuse may be decoded.
func DecodeChange(b []byte) (*Change, error) {
	c := &Change{}
	some := false
	err := messageChange.Read(b, func(x record.Field) error {
		if x.Num == fieldTime {
			c.Time = int64(x.N)
			return nil
		}
		if some {
			return fmt.Errorf("%w: more than one change", record.ErrMalformed)
		}
		some = true
		return kinds[x.Num-fieldFirst].read(x.Bytes, c)
	})
	if err == nil && !some {
		err = fmt.Errorf("%w: a change of nothing", record.ErrMalformed)
	}
	if err != nil {
		return nil, fmt.Errorf("decode change: %w", err)
	}
	return c, nil
}

// maxTime is the last millisecond of the year 9999, the last that an RFC 3339 timestamp has.
const maxTime = 253402300799999

// Validate checks what a change must fulfil whatever the state is, before it is proposed. It
// returns errors of this package with what is out of bounds, and ErrInvalid itself for one that
// is not exactly one change.
func (c *Change) Validate() error {
	if c.Time < 0 || c.Time > maxTime {
		return fmt.Errorf("%w: the time %d is not from 0 to %d", ErrInvalid, c.Time, int64(maxTime))
	}
	k, err := c.kind()
	if err != nil {
		return err
	}
	return k.check(c)
}

// kind is the one kind that the change is of, or ErrInvalid where it is of none or of more than one.
func (c *Change) kind() (*kind, error) {
	var only *kind
	for i := range kinds {
		if !kinds[i].is(c) {
			continue
		}
		if only != nil {
			return nil, fmt.Errorf("%w: a change must be exactly one change", ErrInvalid)
		}
		only = &kinds[i]
	}
	if only == nil {
		return nil, fmt.Errorf("%w: a change must be exactly one change", ErrInvalid)
	}
	return only, nil
}
