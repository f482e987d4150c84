package node_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"testing"
)

// journal is what members log, which can be read meanwhile.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// with are the lines of a log in JSON that have a message.
func (j *journal) with(t *testing.T, msg string) (out []map[string]any) {
	t.Helper()
	for line := range strings.Lines(j.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		if m["msg"] == msg {
			out = append(out, m)
		}
	}
	return out
}
