package mvcc

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

func TestZZPerf(t *testing.T) {
	dir, _ := os.MkdirTemp("/tmp/cf", "perf")
	defer os.RemoveAll(dir)
	o := Options{Dir: dir + "/s"}
	Create(o, State{}, nil)
	s, _ := Open(o)
	v := make([]byte, 256)
	rng := rand.New(rand.NewPCG(1, 2))
	n := 0
	start := time.Now()
	var seqs []int
	for i := 0; i < 1000000; i++ { seqs = append(seqs, i) }
	rng.Shuffle(len(seqs), func(i, j int) { seqs[i], seqs[j] = seqs[j], seqs[i] })
	round1 := func(k int) {
		w, _ := s.NewWriter()
		for i := 0; i < k; i++ {
			for j := range v { v[j] = byte(rng.Uint32()) }
			vv := append([]byte{}, v...)
			if _, err := w.Put(fmt.Appendf(nil, "key-%09d", seqs[n%1000000]), vv, 0, false); err != nil { t.Fatal(err) }
			w.EndTxn()
			n++
		}
		if err := w.Commit(uint64(n), 1); err != nil { t.Fatal(err) }
	}
	for n < 1000000 { round1(50) }
	d := time.Since(start)
	b, _ := os.ReadFile("/proc/self/status")
	fmt.Printf("1M puts in rounds of 50: %v = %.0f/s\n", d, 1e6/d.Seconds())
	fmt.Println(rss(string(b)))
	start = time.Now()
	for n < 1200000 { round1(50) }
	d = time.Since(start)
	fmt.Printf("200k overwrites: %v = %.0f/s\n", d, 2e5/d.Seconds())
	fl := s.FlushedIndex()
	fmt.Println("unflushed", uint64(n)-fl)
	start = time.Now()
	c, err := s.Count(t.Context())
	fmt.Println("count", c, err, time.Since(start))
	start = time.Now()
	h, err := s.HashKV(t.Context(), 0)
	fmt.Println("hash", h, err, time.Since(start))
	start = time.Now()
	mustApply(t, s, round{compact: s.State().Revision})
	s.WaitCompacted(t.Context(), s.State().Revision)
	fmt.Println("compacted", time.Since(start))
	b, _ = os.ReadFile("/proc/self/status")
	fmt.Println(rss(string(b)))
	start = time.Now()
	s.Close()
	fmt.Println("close", time.Since(start))
	start = time.Now()
	s, err = Open(o)
	fmt.Println("open", err, time.Since(start))
	b, _ = os.ReadFile("/proc/self/status")
	fmt.Println(rss(string(b)))
	s.Close()
}

func rss(s string) string {
	var a, b string
	for _, l := range splitLines(s) {
		if len(l) > 6 && l[:6] == "VmRSS:" { a = l }
		if len(l) > 6 && l[:6] == "VmHWM:" { b = l }
	}
	return a + " " + b
}
func splitLines(s string) (o []string) {
	cur := ""
	for _, c := range s { if c == '\n' { o = append(o, cur); cur = "" } else { cur += string(c) } }
	return
}
