package rafttest

type story struct {
	tell func(string, ...any)
	c    *Cluster
}

func (s *story) event(e *Event) {
	if l := e.terse(); l != "" {
		s.tell("%s", l)
	}
}
func (s *story) begin(p *plan)   {}
func (s *story) end(x *Schedule) {}
