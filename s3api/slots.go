package s3api

import (
	"context"
	"fmt"
	"sync"
)

// shareOf and sharePer are how much of what others leave free one caller may hold.
const shareOf, sharePer = 3, 4

// strangers are one caller: all who have not signed, or not as they should.
const strangers = ""

// Why a request was told to slow down, as Stats hears of it.
const (
	// SlowMember is of a member that serves as many requests as it may.
	SlowMember = "member"
	// SlowShare is of a caller that has its share of those.
	SlowShare = "share"
	// SlowRate is of an access key that has used up what it may for now.
	SlowRate = "rate"
	// SlowCluster is of a cluster that takes no more at present.
	SlowCluster = "cluster"
)

// SlowReasons are all reasons that Stats hears of.
func SlowReasons() []string { return []string{SlowMember, SlowShare, SlowRate, SlowCluster} }

// slots are the requests that may be served at a time. Each takes one before it is looked at, and
// counts for nobody until its signature was verified: else a stranger could use up the share of a
// key by its name alone. From then on it is held by a caller. What a caller may hold depends on
// what others hold, so that some is left for whoever comes next, and there is nothing to set.
type slots struct {
	taken chan struct{}

	mu sync.Mutex
	// held are those that a caller holds, by its access key; nobody is in it with none. all is their sum.
	held map[string]int
	all  int
}

func newSlots(n int) *slots {
	return &slots{taken: make(chan struct{}, n), held: map[string]int{}}
}

// take takes a slot, and reports whether there was one.
func (s *slots) take() bool {
	select {
	case s.taken <- struct{}{}:
		return true
	default:
		return false
	}
}

// free gives back a slot that was taken, and that nobody holds.
func (s *slots) free() { <-s.taken }

// hold lets a caller hold one of the slots taken, and reports whether it may: one always, and more
// as long as they are no more than its share of those that others do not hold.
func (s *slots) hold(caller string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.held[caller]
	left := cap(s.taken) - (s.all - n)
	if n > 0 && sharePer*(n+1) > shareOf*left {
		return false
	}
	s.held[caller] = n + 1
	s.all++
	return true
}

// leave ends that a caller holds a slot.
func (s *slots) leave(caller string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.held[caller]--; s.held[caller] <= 0 {
		delete(s.held, caller)
	}
}

// close takes all slots, one after the other as they are given back, and reports whether it has
// them: not if the context ends first.
func (s *slots) close(ctx context.Context) bool {
	for range cap(s.taken) {
		select {
		case s.taken <- struct{}{}:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// hold counts the request for who asks, in place of whom it counted for before. It is called when a
// signature was verified, or none was good.
func (rq *request) hold() error {
	rq.leave()
	caller := rq.who.id()
	if !rq.s.slots.hold(caller) {
		whose := fmt.Sprintf("the access key %s has", caller)
		if caller == strangers {
			whose = "those who do not sign have"
		}
		return slowDown(SlowShare, "%s as many requests served as may be at a time beside those of others.", whose)
	}
	rq.holds, rq.caller = true, caller
	return nil
}

// leave ends that the request counts for anybody.
func (rq *request) leave() {
	if rq.holds {
		rq.holds = false
		rq.s.slots.leave(rq.caller)
	}
}

// slowDown tells a client to come again later. Of a request that has no share to be served from, the
// body is not read: that would be to serve it.
func slowDown(reason, format string, args ...any) *apiError {
	e := refusef(codeSlowDown, "Please reduce your request rate: "+format, args...).header("Retry-After", "1")
	e.slow = reason
	if reason == SlowMember || reason == SlowShare {
		e = e.header("Connection", "close")
	}
	return e
}
