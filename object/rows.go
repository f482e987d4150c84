package object

// Reader reads rows. What it returns is the caller's to keep, but must not be changed.
type Reader interface {
	// Get reads one row.
	Get(row []byte) (value []byte, found bool, err error)
	// Cursor walks the rows of [from, to) in their order. The caller closes it.
	Cursor(from, to []byte) (Cursor, error)
}

// Cursor stands before the first row that it walks. Row and Value are valid until it moves.
type Cursor interface {
	// Next moves to the next row, and reports whether there is one.
	Next() bool
	// Seek moves to the first row at or after one, and reports whether there is one.
	Seek(row []byte) bool
	Row() []byte
	Value() []byte
	// Err is why the walk ended early, nil where it did not.
	Err() error
	Close() error
}

// Rows are rows that can be changed; what was changed is what is read. The slices given must
// not be changed afterwards.
type Rows interface {
	Reader
	Set(row, value []byte) error
	Delete(row []byte) error
}
