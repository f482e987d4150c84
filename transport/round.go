package transport

import (
	"errors"
	"fmt"
	"syscall"
)

// round is one attempt at each of a peer's addresses, of which none has led to it yet.
type round struct {
	// tried counts the addresses, refusing those where no process listens.
	tried, refusing int
	// of is how many there are.
	of int
}

// failed takes in an attempt, of a peer with so many addresses, and reports whether the
// round is over.
func (r *round) failed(err error, of int) (over bool) {
	r.tried, r.of = r.tried+1, of
	if errors.Is(err, syscall.ECONNREFUSED) {
		r.refusing++
	}
	return r.tried >= of
}

// verdict is what the last attempt says of the peer. That nothing listens at one of its
// addresses does not mean that its process is gone, while another may lead to it.
func (r *round) verdict(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) && r.refusing < r.of {
		// The text alone: what it is made of is for who asks whether the process is gone.
		return errors.New(err.Error() + fmt.Sprintf(" (it has %d addresses)", r.of))
	}
	return err
}
