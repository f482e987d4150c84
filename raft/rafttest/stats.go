package rafttest

func (s *Schedule) Stats() map[string]int {
	var terms uint64
	for t := range s.check.leaders {
		terms = max(terms, t)
	}
	conf := 0
	for _, e := range s.check.ledger {
		if e.Type == 1 {
			conf++
		}
	}
	return map[string]int{"ST-ledger": len(s.check.ledger), "ST-leaders": len(s.check.leaders), "ST-term": int(terms), "ST-conf-committed": conf, "ST-acked": len(s.acked)}
}
