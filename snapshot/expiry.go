package snapshot

import (
	"slices"
	"time"
)

// CloseSnapshot ends one use of a snapshot, and removes the snapshot with its
// last. An id that is not open is no error: it ran out, or was closed before.
func (s *Server) CloseSnapshot(id string) {
	s.mu.Lock()
	if r := s.readers[id]; r != nil {
		s.endLocked(id, r)
		if r.cut.readers == 0 {
			s.discardLocked(r.cut)
		}
	}
	s.mu.Unlock()
	s.empty()
}

// Sent says that everything of a snapshot was sent to who uses it. The use ends
// IdleFor later, or as soon as there are too many, unless it is read again: the end
// of a stream may be lost with the last that was sent.
func (s *Server) Sent(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.readers[id]; r != nil {
		r.sent, r.lastRead = true, s.o.Sched.Now()
	}
}

// endSentLocked ends the uses that need nothing any more since so long.
func (s *Server) endSentLocked(idle time.Duration) {
	now := s.o.Sched.Now()
	for id, r := range s.readers {
		if r.sent && r.busy == 0 && now.Sub(r.lastRead) >= idle {
			s.endLocked(id, r)
			if r.cut.readers == 0 {
				s.discardLocked(r.cut)
			}
		}
	}
}

// Sweep ends the uses that have not read for the TTL and removes the snapshots
// that nobody uses. The server does so by itself from time to time.
func (s *Server) Sweep() {
	s.mu.Lock()
	now := s.o.Sched.Now()
	s.endSentLocked(s.o.IdleFor)
	for id, r := range s.readers {
		if r.busy == 0 && now.Sub(r.lastRead) >= s.o.TTL {
			s.endLocked(id, r)
			s.log.Info("snapshot was not read for its time to live", "id", id, "index", r.cut.manifest.Meta.Index)
		}
	}
	for _, c := range slices.Clone(s.cuts) {
		if c.readers == 0 && now.Sub(c.lastUse) >= s.o.TTL {
			s.discardLocked(c)
		}
	}
	s.mu.Unlock()
	s.empty()
}

func (s *Server) endLocked(id string, r *reader) {
	delete(s.readers, id)
	r.cut.readers--
}

func (s *Server) discardLocked(c *cut) {
	s.cuts = slices.DeleteFunc(s.cuts, func(o *cut) bool { return o == c })
	s.trash = append(s.trash, c.dir)
}

// giveWayLocked discards the snapshot that was not read for the longest, if that is
// IdleFor: those who opened it may be dead, and must not keep a newcomer waiting
// for the TTL. A reader who comes back after all opens another.
func (s *Server) giveWayLocked(now time.Time) bool {
	var idle *cut
	for _, c := range s.cuts {
		if now.Sub(c.lastUse) >= s.o.IdleFor && !s.busyLocked(c) && (idle == nil || c.lastUse.Before(idle.lastUse)) {
			idle = c
		}
	}
	if idle == nil {
		return false
	}
	for id, r := range s.readers {
		if r.cut == idle {
			s.endLocked(id, r)
		}
	}
	s.discardLocked(idle)
	s.log.Info("snapshot gives way to a newer one", "index", idle.manifest.Meta.Index, "idle", now.Sub(idle.lastUse))
	return true
}

func (s *Server) busyLocked(c *cut) bool {
	for _, r := range s.readers {
		if r.cut == c && r.busy > 0 {
			return true
		}
	}
	return false
}

// discardUnused gives up a snapshot that is too old for the one who asked for
// it, so that it takes no place from a newer one.
func (s *Server) discardUnused(c *cut) {
	s.mu.Lock()
	if c.readers == 0 && slices.Contains(s.cuts, c) {
		s.discardLocked(c)
	}
	s.mu.Unlock()
	s.empty()
}

// empty removes the directories given up. One that cannot be removed is tried
// again at the next sweep, and at the next start.
func (s *Server) empty() {
	s.mu.Lock()
	trash := s.trash
	s.trash = nil
	s.mu.Unlock()
	for _, dir := range trash {
		if err := s.o.FS.RemoveAll(dir); err != nil {
			s.log.Warn("a snapshot could not be removed", "dir", dir, "err", err)
			s.mu.Lock()
			s.trash = append(s.trash, dir)
			s.mu.Unlock()
		}
	}
}

// LowestIndex is the lowest index that a snapshot in use ends at: the log after
// it will be asked for. ok is false when there is none. While one is being cut
// it is 0, since its index is not known yet: keep the whole log so long.
func (s *Server) LowestIndex() (index uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.job != nil {
		return 0, true
	}
	for _, c := range s.cuts {
		if !ok || c.manifest.Meta.Index < index {
			index, ok = c.manifest.Meta.Index, true
		}
	}
	return index, ok
}

// Close ends every use, waits for a cut being made, and removes all snapshots.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.tasks.Wait()
	s.mu.Lock()
	for id, r := range s.readers {
		s.endLocked(id, r)
	}
	for _, c := range slices.Clone(s.cuts) {
		s.discardLocked(c)
	}
	s.mu.Unlock()
	s.empty()
}
