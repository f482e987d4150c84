package raft_test

import (
	"path/filepath"
	"strings"
	"testing"

	"chainfire/raft/rafttest"
)

func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			rafttest.RunScript(t, file)
		})
	}
}
