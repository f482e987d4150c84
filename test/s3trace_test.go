package test

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"testing"
)

// TestAMemberCanBeTracedWhileItHashesBodies holds that an execution trace, which walks stacks
// by their frame pointers, does no harm to a member that takes long bodies.
func TestAMemberCanBeTracedWhileItHashesBodies(t *testing.T) {
	t.Parallel()
	k := s3Key{"operator", "a-secret-of-the-operator"}
	a := here.newMember(t, "a", "--enable-pprof")
	a.within = []string{"env", "AWS_ACCESS_KEY_ID=" + k.ID, "AWS_SECRET_ACCESS_KEY=" + k.Secret, "CHAINFIRE_BUCKET=files"}
	client := s3Client(a.startS3(), k)
	body := bytesOf(8 << 20)
	traced := make(chan struct{})
	var work sync.WaitGroup
	for _, key := range []string{"a", "b", "c", "d"} {
		work.Go(func() {
			for {
				if err := s3Put(t, client, "files", key, body); err != nil {
					t.Errorf("put %s: %v", key, err)
					return
				}
				select {
				case <-traced:
					return
				default:
				}
			}
		})
	}
	answer, err := http.Get("http://" + a.client + "/debug/pprof/trace?seconds=1")
	if err == nil {
		var trace []byte
		if trace, err = io.ReadAll(answer.Body); err == nil && !bytes.HasPrefix(trace, []byte("go 1.")) {
			t.Errorf("%s: no trace but %.100q", answer.Status, trace)
		}
		if err := answer.Body.Close(); err != nil {
			t.Error(err)
		}
	}
	close(traced)
	if err != nil {
		t.Errorf("the trace: %v", err)
	}
	work.Wait()
	s3Holds(t, client, "files", "a", body)
}
