package bodies

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chainfire/internal/disk"
	"chainfire/object"
)

// unit is how large the extents of these tests are.
const unit = 64 << 10

func TestABodyIsReadBackFromEveryMember(t *testing.T) {
	w := newWorld(t, 1, 2, 3, 4, 5)
	for _, size := range []int{0, 1, object.MaxInline, object.MaxInline + 1, 2 * unit, 5*unit + 77} {
		data := random(uint64(size), size)
		body, err := w.member(1).write(fmt.Sprint(size), data)
		must(t, err)
		if inline := size <= object.MaxInline; inline != (len(body.Extents) == 0) || body.Size != int64(size) {
			t.Errorf("%d bytes became %d inline and %d extents", size, len(body.Inline), len(body.Extents))
		}
		for i, e := range body.Extents {
			placed := w.place(object.ExtentID{Body: body.ID, N: uint32(i)})
			if 2*len(e.Holders) <= len(placed) || !slices.IsSorted(e.Holders) {
				t.Errorf("extent %d of %d bytes is on %v of %v", i, size, e.Holders, placed)
			}
		}
		for id := range uint64(5) {
			if err := w.member(id+1).holds(&body, data); err != nil {
				t.Errorf("%d bytes from member %d: %v", size, id+1, err)
			}
		}
	}
}

func TestAnyStretchOfABodyCanBeRead(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	const size = 3*unit + 1000
	data := random(1, size)
	body, err := w.member(1).write("key", data)
	must(t, err)
	for _, c := range []struct{ off, n int }{
		{0, size}, {0, 0}, {size, 0}, {0, 1}, {unit - 1, 2}, {unit, unit}, {5, 3*unit + 3}, {size - 1, 1}, {100_000, 70_000},
	} {
		got, err := w.member(2).read(&body, c.off, c.n)
		if err != nil || !bytes.Equal(got, data[c.off:c.off+c.n]) {
			t.Errorf("%d bytes at %d: %v", c.n, c.off, err)
		}
	}
	for _, c := range []struct{ off, n int }{{-1, 1}, {0, size + 1}, {size + 1, 0}, {1, size}} {
		if _, err := w.member(2).read(&body, c.off, c.n); !errors.Is(err, object.ErrInvalid) {
			t.Errorf("%d bytes at %d: %v, want ErrInvalid", c.n, c.off, err)
		}
	}
}

// One member of three that fails, in any way, holds nothing up; two of three, and nothing is
// acknowledged.
func TestABodyIsWrittenAsLongAsAMajorityTakesIt(t *testing.T) {
	data := random(9, 6*unit)
	for name, f := range map[string]fault{"down": down, "mute": mute, "stuck": stuck} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, 2, 3)
			w.member(1).opts.Patience = 500 * time.Millisecond
			w.become(3, f)
			body, err := w.member(1).write("key", data)
			must(t, err)
			for i, e := range body.Extents {
				if !slices.Equal(e.Holders, []uint64{1, 2}) {
					t.Fatalf("extent %d is on %v", i, e.Holders)
				}
			}
			w.become(2, f)
			w.member(1).opts.Stall = 700 * time.Millisecond
			_, err = w.member(1).write("other", data)
			if !errors.Is(err, object.ErrUnavailable) || !strings.Contains(err.Error(), "member 2") || !strings.Contains(err.Error(), "member 3") {
				t.Errorf("with two of three: %v", err)
			}
			w.become(2, healthy)
			w.become(3, healthy)
			until(t, "member 3 has what it missed", func() bool {
				w.member(3).Kick()
				return w.member(3).has(&body) == len(body.Extents)
			})
			must(t, w.member(3).holds(&body, data))
		})
	}
}

func TestASlowMemberCostsOneBodyItsPatienceAndNotTheNext(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	m := w.member(1)
	m.opts.Patience = 2 * time.Second
	w.become(3, mute)
	for n, most := range []time.Duration{time.Minute, m.opts.Patience} {
		began := time.Now()
		_, err := m.write(fmt.Sprint(n), random(9, 6*unit))
		must(t, err)
		if took := time.Since(began); took >= most {
			t.Errorf("body %d took %v", n, took)
		}
		if !m.health.suspect(3) {
			t.Errorf("after body %d it is not known that the member is slow", n)
		}
	}
}

// The member's own disk is one of those that a majority is of.
func TestABodyIsWrittenThroughAMemberWithAFullDisk(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	must(t, w.member(1).Close())
	const floor = 1 << 20
	w.start(1, w.member(1).fs, 2, func(o *Options) { o.Blob.FloorBytes = floor })
	w.member(1).fs.LimitSpace(floor + 100_000)
	data := random(3, 3*unit)
	body, err := w.member(1).write("key", data)
	must(t, err)
	if !slices.Equal(body.Extents[1].Holders, []uint64{2, 3}) {
		t.Errorf("on %v", body.Extents[1].Holders)
	}
	must(t, w.member(1).holds(&body, data))
	w.member(1).fs.Heal()
	until(t, "member 1 has it", func() bool {
		w.member(1).Kick()
		return w.member(1).has(&body) == len(body.Extents)
	})
}

func TestABodyGivenUpLeavesNothingBehind(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	m := w.member(1)
	ctx, cancel := context.WithCancel(context.Background())
	body, err := m.NewBody(ctx, 10*unit)
	must(t, err)
	_, err = body.Write(random(1, 5*unit))
	must(t, err)
	cancel()
	for err == nil {
		_, err = body.Write(random(1, unit))
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("write after the end of the context: %v", err)
	}
	if _, err := body.Finish(ctx); err == nil {
		t.Error("it could be finished all the same")
	}
	body.Close()
	m.leases.mu.Lock()
	m.leases.retire()
	m.leases.mu.Unlock()
	until(t, "nothing is left", func() bool {
		for _, m := range w.members {
			if m.store.Usage().Extents > 0 {
				return false
			}
		}
		return len(w.leases()) == 0
	})
}

func TestReadingGoesAroundDamageAndItIsHealed(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	data := random(4, 4*unit)
	body, err := w.member(1).write("key", data)
	must(t, err)
	until(t, "all have it", func() bool {
		return w.member(1).has(&body)+w.member(2).has(&body)+w.member(3).has(&body) == 12
	})
	m := w.member(2)
	for _, off := range []int64{1000, 2*unit + 5000} {
		must(t, m.fs.FlipBit("blob/SEG-00000001", off, 3))
	}
	must(t, m.holds(&body, data))
	until(t, "the damage is healed", func() bool {
		c := m.Counts()
		return m.has(&body) == 4 && c.Corrupt == 2 && c.Repaired >= 2 && c.Damaged == 0
	})
	w.become(1, down)
	w.become(3, down)
	must(t, m.holds(&body, data))
}

func TestWhatNobodyHasIsUnavailableAndNotOtherBytes(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	data := random(4, 4*unit)
	body, err := w.member(1).write("key", data)
	must(t, err)
	until(t, "the third has it, too", func() bool { return w.member(3).has(&body) == 4 })
	w.become(1, down)
	w.become(2, down)
	must(t, w.member(3).store.Delete(context.Background(), object.ExtentID{Body: body.ID, N: 2}))
	got, err := w.member(3).read(&body, 0, len(data))
	if !errors.Is(err, object.ErrUnavailable) || !strings.Contains(err.Error(), "member 1") {
		t.Errorf("error %v", err)
	}
	if !bytes.Equal(got, data[:len(got)]) || len(got) > 2*unit {
		t.Errorf("%d bytes were read, or others", len(got))
	}
	if _, err := w.member(3).OpenBody(context.Background(), &body, 2*unit, 1); !errors.Is(err, object.ErrUnavailable) {
		t.Errorf("opened where the first byte cannot be had: %v", err)
	}
}

// wrapped fails at the end of its bytes by an error that wraps io.EOF, as a refusal may.
type wrapped struct{ io.Reader }

func (r wrapped) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil {
		err = fmt.Errorf("refused: %w", err)
	}
	return n, err
}

func TestASourceThatIsRefusedAtItsEndIsNoBody(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	for _, size := range []int{10, 4 * unit} {
		b, err := w.member(1).NewBody(context.Background(), int64(size))
		must(t, err)
		n, err := b.(io.ReaderFrom).ReadFrom(wrapped{bytes.NewReader(random(1, size))})
		if err == nil || n != int64(size) {
			t.Errorf("%d of %d bytes, and the error %v", n, size, err)
		}
		b.Close()
	}
}

func TestABodyWhoseReaderIsGivenUpDoesNotEndAsIfItWereWhole(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	data := random(4, 40*unit) // more than may be read by chance before the end is noticed
	body, err := w.member(1).write("key", data)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	r, err := w.member(1).OpenBody(ctx, &body, 0, int64(len(data)))
	must(t, err)
	defer r.Close()
	_, err = io.ReadFull(r, make([]byte, 10))
	must(t, err)
	cancel()
	n, err := io.Copy(io.Discard, r)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("after %d of %d bytes: %v, want that it was canceled", n+10, len(data), err)
	}
}

func TestAMemberWithAnEmptyDirectoryGetsEverythingBack(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	bodies, data := map[string]object.Body{}, map[string][]byte{}
	for n := range 5 {
		key := fmt.Sprint(n)
		data[key] = random(uint64(n), 2*unit+n)
		var err error
		bodies[key], err = w.member(1).write(key, data[key])
		must(t, err)
	}
	must(t, w.member(3).Close())
	m := w.start(3, disk.NewFaultFS(), 2, short)
	until(t, "it has everything", func() bool { return m.Counts().Passes > 0 && m.Counts().Missing == 0 && m.store.Usage().Extents == 14 })
	w.become(1, down)
	w.become(2, down)
	for key, body := range bodies {
		must(t, m.holds(&body, data[key]))
	}
}

func TestAMemberThatWasLeftOutGetsABodySoon(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	must(t, w.member(3).Close())
	late := w.start(3, w.member(3).fs, 2, func(o *Options) { o.RecentEvery = 10 * time.Millisecond })
	until(t, "what there was is looked through", func() bool { return late.counts.passes.Load() > 0 })
	for _, key := range []string{"under the first lease", "under the same"} {
		w.become(3, down)
		body, err := w.member(1).write(key, random(4, 3*unit))
		must(t, err)
		if n := late.has(&body); n > 0 {
			t.Fatalf("it has %d extents, and was left out", n)
		}
		w.become(3, healthy)
		until(t, "it has all of them", func() bool { return late.has(&body) == len(body.Extents) })
	}
	if n := late.counts.passes.Load(); n != 1 {
		t.Errorf("all bodies were looked through %d times", n)
	}
}

func TestExtentsFollowTheMembersThatAreToHoldThem(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	data := random(7, 12*unit)
	body, err := w.member(1).write("key", data)
	must(t, err)
	for id := range uint64(2) {
		w.start(id+4, disk.NewFaultFS(), 1, short)
	}
	w.setVoters(1, 2, 3, 4, 5)
	count := func() (n int, right bool) {
		right = true
		for i := range body.Extents {
			id := object.ExtentID{Body: body.ID, N: uint32(i)}
			for m := range uint64(5) {
				has, err := w.member(m + 1).store.Has(id)
				must(t, err)
				if has {
					n++
				}
				right = right && has == slices.Contains(w.place(id), m+1)
			}
		}
		return n, right
	}
	until(t, "each extent is where it is to be", func() bool {
		n, right := count()
		return right && n == 3*len(body.Extents)
	})
	for id := range uint64(5) {
		must(t, w.member(id+1).holds(&body, data))
	}
}

func TestWhatNothingRefersToGoesAfterItsGrace(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	data := random(7, 2*unit)
	body, err := w.member(1).write("key", data)
	must(t, err)
	kept, err := w.member(1).write("kept", data)
	must(t, err)
	w.member(1).leases.mu.Lock()
	w.member(1).leases.retire()
	w.member(1).leases.mu.Unlock()
	until(t, "the lease is closed", func() bool { return len(w.leases()) == 0 })
	_, err = w.Change(context.Background(), &object.Change{Delete: &object.Delete{Bucket: "bucket", Objects: []object.DeleteObject{{Key: "key"}}}})
	must(t, err)
	until(t, "it is gone everywhere", func() bool {
		return w.member(1).has(&body)+w.member(2).has(&body)+w.member(3).has(&body) == 0
	})
	for id := range uint64(3) {
		must(t, w.member(id+1).holds(&kept, data))
	}
}

func TestBytesOfABodyThatIsNotReferredToYetAreKept(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	m := w.member(1)
	bw, err := m.NewBody(context.Background(), -1)
	must(t, err)
	defer bw.Close()
	_, err = bw.Write(random(1, 2*unit))
	must(t, err)
	body, err := bw.Finish(context.Background())
	must(t, err)
	until(t, "this member has it, too", func() bool { return m.has(&body) == 2 })
	c := &collection{b: m.Bodies}
	for range 3 {
		must(t, c.run(context.Background()))
	}
	if n := len(c.unwanted.since); n > 0 || m.has(&body) != 2 {
		t.Errorf("%d bodies are not wanted, %d extents are left", n, m.has(&body))
	}
}

// A state that does not have a lease yet looks as one where it is closed, and must not be taken for that.
func TestAMemberKeepsWhatWasWrittenUnderALeaseThatItDoesNotKnowYet(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	late := w.member(3)
	late.fallBehind(50)
	m := w.member(1)
	bw, err := m.NewBody(context.Background(), -1)
	must(t, err)
	_, err = bw.Write(random(1, 2*unit))
	must(t, err)
	body, err := bw.Finish(context.Background())
	must(t, err)
	until(t, "all have it", func() bool { return m.has(&body)+w.member(2).has(&body)+late.has(&body) == 6 })
	bw.Close()
	m.leases.mu.Lock()
	m.leases.retire()
	m.leases.mu.Unlock()
	until(t, "those that know that nothing will refer to it let it go", func() bool {
		return m.has(&body)+w.member(2).has(&body) == 0
	})
	c := &collection{b: late.Bodies}
	for range 3 {
		must(t, c.run(context.Background()))
	}
	if n := len(c.unwanted.since); n > 0 || late.has(&body) != 2 {
		t.Errorf("%d bodies are not wanted, %d extents are left", n, late.has(&body))
	}
	late.fallBehind(0)
	until(t, "it goes there, too", func() bool { return late.has(&body) == 0 })
}

func TestWhatIsInFlightIsBounded(t *testing.T) {
	w := newWorld(t, 1, 2, 3)
	must(t, w.member(1).Close())
	const writers, each = 2, 6 * unit
	m := w.start(1, w.member(1).fs, 2, func(o *Options) { o.Writers, o.Patience = writers, 500*time.Millisecond })
	w.become(3, mute) // so that what it is to be sent stays in flight for the patience
	var peak atomic.Int64
	look := func() {
		for n := int64(len(m.flight)); ; {
			if most := peak.Load(); n <= most || peak.CompareAndSwap(most, n) {
				return
			}
		}
	}
	var wg sync.WaitGroup
	for n := range 2 * writers {
		wg.Go(func() {
			b, err := m.NewBody(context.Background(), -1)
			if err != nil {
				t.Error(err)
				return
			}
			defer b.Close()
			if _, err := io.CopyN(b, endless{look}, each); err != nil {
				t.Error(err)
			}
			if _, err := b.Finish(context.Background()); err != nil {
				t.Errorf("body %d: %v", n, err)
			}
		})
	}
	wg.Wait()
	if n := peak.Load(); n < flightOfBody || n > writers*flightOfBody {
		t.Errorf("%d extents were in flight, want %d to %d", n, flightOfBody, writers*flightOfBody)
	}
	until(t, "nothing is in flight", func() bool { return len(m.flight) == 0 && len(m.writing) == 0 })
}

// endless gives bytes without end, and calls look before.
type endless struct{ look func() }

func (e endless) Read(p []byte) (int, error) {
	e.look()
	for i := range p {
		p[i] = byte(i)
	}
	return len(p), nil
}
