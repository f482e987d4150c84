package object

// AppendTo appends the encoded change to b. The change must be one that Validate accepts.
func (c *Change) AppendTo(b []byte) []byte { panic("not yet") }

// DecodeChange decodes what AppendTo made; byte slices of the result alias b. Anything that this
// version does not know in full is refused with record.ErrNewer, other flaws with
// record.ErrMalformed.
func DecodeChange(b []byte) (*Change, error) { panic("not yet") }

// Validate checks what a change must fulfil whatever the state is, before it is proposed. It
// returns errors of this package with what is out of bounds, and ErrInvalid itself for one that
// is not exactly one change.
func (c *Change) Validate() error { panic("not yet") }
