package object

import "errors"

var errElsewhere = errors.New("not part of this build")

// checkBody refuses a body whose lease is closed, or that too few members hold. It only reads.
func (t *tx) checkBody(*Body) error { return nil }

// adopt writes a body's row, referred to once. A body of no bytes has the zero id.
func (t *tx) adopt(b *Body) (BodyID, error) {
	if b.Size == 0 {
		return BodyID{}, nil
	}
	return BodyID{Lease: t.next()}, nil
}

// refer adds a reference to what a version's bytes are in.
func (t *tx) refer(*Version) error { return nil }

// letGo takes away the reference of a version that is removed.
func (t *tx) letGo(*Version) error { return nil }

func (t *tx) createUpload(*CreateUpload) (*Result, error) { return nil, errElsewhere }
func (t *tx) putPart(*PutPart) (*Result, error)           { return nil, errElsewhere }
func (t *tx) complete(*Complete) (*Result, error)         { return nil, errElsewhere }
func (t *tx) abort(*Abort) (*Result, error)               { return nil, errElsewhere }
func (t *tx) openLease(*OpenLease) (*Result, error)       { return nil, errElsewhere }
func (t *tx) closeLease(*CloseLease) (*Result, error)     { return nil, errElsewhere }
func (t *tx) closeLeases(*CloseLeases) (*Result, error)   { return nil, errElsewhere }
func (t *tx) setKey(*SetKey) (*Result, error)             { return nil, errElsewhere }
func (t *tx) deleteKey(*DeleteKey) (*Result, error)       { return nil, errElsewhere }
func (t *tx) holders(*Holders) (*Result, error)           { return nil, errElsewhere }
func (t *tx) reap(*Reap) (*Result, error)                 { return nil, errElsewhere }
