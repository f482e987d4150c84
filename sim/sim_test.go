package sim

import (
	"flag"
	"os"
	"testing"
)

var (
	oneSeed  = flag.Uint64("seed", 0, "run this seed alone and tell its story")
	messages = flag.Bool("messages", false, "tell of every message in the story")
)

func TestOne(t *testing.T) {
	r := &Runner{}
	res := r.Run(*oneSeed, os.Stdout, *messages)
	t.Logf("%+v", res)
	if res.Err != nil {
		t.Fatal(res.Err)
	}
}
