package courtesy

import (
	"context"
	"errors"
	"testing"
	"time"
)

// bench is a gate in time that only passes where something waits.
type bench struct {
	*Gate
	t   time.Time
	pay time.Duration // how long was waited
}

func newBench() *bench {
	b := &bench{t: time.Unix(1_700_000_000, 0)}
	b.Gate = New(func() time.Time { return b.t }, func(ctx context.Context, d time.Duration) error {
		b.t = b.t.Add(d)
		b.pay += d
		return ctx.Err()
	})
	return b
}

// alone lets small writes tell how long they take by themselves.
func (b *bench) alone(d time.Duration) {
	b.t = b.t.Add(time.Second)
	for range 200 {
		b.t = b.t.Add(time.Millisecond)
		b.Took(Answer, d)
	}
}

// beside moves bytes for a while beside small writes that take so long each, and returns the bytes.
func (b *bench) beside(t *testing.T, d, took time.Duration) (moved int) {
	t.Helper()
	for end, next := b.t.Add(d), b.t; b.t.Before(end); {
		if !b.t.Before(next) {
			b.Keys()
			b.Took(Answer, took)
			next = b.t.Add(5 * time.Millisecond)
		}
		b.t = b.t.Add(time.Millisecond / 2)
		const n = 256 << 10
		if err := b.Pass(context.Background(), n); err != nil {
			t.Fatal(err)
		}
		moved += n
	}
	return moved
}

func TestBytesDoNotWaitWhereNobodyWritesKeys(t *testing.T) {
	b := newBench()
	if err := b.Pass(context.Background(), 1<<30); err != nil || b.pay != 0 || b.Busy() || b.Rate() != 0 {
		t.Errorf("%v; waited %v, busy %v, rate %v", err, b.pay, b.Busy(), b.Rate())
	}
	b.Keys()
	if !b.Busy() || b.Rate() == 0 {
		t.Error("a key was written, and the gate is open")
	}
	b.t = b.t.Add(activeFor)
	if b.Busy() || b.Rate() != 0 {
		t.Error("no key was written for long, and the gate is not open")
	}
}

func TestBytesGiveWayToWritesThatBecomeSlowAndComeBack(t *testing.T) {
	b := newBench()
	b.alone(2 * time.Millisecond)
	fast := b.beside(t, 10*time.Second, 3*time.Millisecond)
	if fast < 400<<20 {
		t.Errorf("%d bytes in 10 s beside writes that feel nothing", fast)
	}
	b.beside(t, 5*time.Second, 50*time.Millisecond)
	slow := b.beside(t, 10*time.Second, 50*time.Millisecond)
	if slow < 9*LeastRate || slow > 11*LeastRate {
		t.Errorf("%d bytes in 10 s beside writes that take 25 times as long", slow)
	}
	if r := b.Rate(); r != LeastRate {
		t.Errorf("the rate is %v and not the least one", r)
	}
	if again := b.beside(t, 10*time.Second, 3*time.Millisecond); again < 20*LeastRate {
		t.Errorf("%d bytes in 10 s after the writes were quick again", again)
	}
}

func TestSlowSyncsWithoutKeysSlowNothingDown(t *testing.T) {
	b := newBench()
	b.alone(2 * time.Millisecond)
	for range 100 {
		b.t = b.t.Add(20 * time.Millisecond)
		b.Took(Sync, time.Second)
		if err := b.Pass(context.Background(), 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	b.Keys()
	if r := b.Rate(); r != firstRate {
		t.Errorf("the rate is %v", r)
	}
}

func TestOneLateWriteOfManySlowsNothingDown(t *testing.T) {
	b := newBench()
	b.alone(2 * time.Millisecond)
	before := b.beside(t, 3*time.Second, 2*time.Millisecond)
	for range 20 {
		b.Took(Answer, time.Second)
		b.beside(t, time.Second, 2*time.Millisecond)
	}
	if after := b.beside(t, 3*time.Second, 2*time.Millisecond); after < before {
		t.Errorf("%d bytes, then %d", before, after)
	}
}

func TestAWaitThatIsEndedIsAnError(t *testing.T) {
	b := newBench()
	b.Keys()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Pass(ctx, 1<<30); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestWorkOnBytesRestsBetweenItsStepsWhileKeysAreWritten(t *testing.T) {
	b := newBench()
	if b.Breathe(); b.pay != 0 {
		t.Errorf("it rested %v where nobody writes keys", b.pay)
	}
	b.Keys()
	if b.Breathe(); b.pay != breath {
		t.Errorf("it rested %v, not %v", b.pay, breath)
	}
}
