package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// tmpfsMagic is the type that statfs gives for a file system in memory.
const tmpfsMagic = 0x01021994

// place is where the servers keep their data, all on one disk.
type place struct {
	dir string
}

// newPlace makes a folder of its own below dir. It refuses a file system in
// memory, where a sync costs nothing and the figures mean nothing.
func newPlace(dir string) (place, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return place{}, fmt.Errorf("make folder for data: %w", err)
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return place{}, fmt.Errorf("find the file system of %s: %w", dir, err)
	}
	if fs.Type == tmpfsMagic {
		return place{}, fmt.Errorf("%s is in memory, where a sync costs nothing: name a folder on a disk with --dir", dir)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return place{}, fmt.Errorf("find %s: %w", dir, err)
	}
	own, err := os.MkdirTemp(abs, "run-")
	if err != nil {
		return place{}, fmt.Errorf("make folder for data: %w", err)
	}
	return place{dir: own}, nil
}

func (p place) remove() error {
	if err := os.RemoveAll(p.dir); err != nil {
		return fmt.Errorf("remove data: %w", err)
	}
	return nil
}

// machine describes where figures come from, so that they are not compared with
// those of another.
type machine struct {
	Processors int    `json:"processors"`
	Model      string `json:"model,omitempty"`
	Kernel     string `json:"kernel"`
	GoVersion  string `json:"go_version"`
	// SyncP50 and SyncP99 are what one write of 4 KiB and its sync take on the
	// disk, in milliseconds.
	SyncP50 float64 `json:"sync_p50_ms"`
	SyncP99 float64 `json:"sync_p99_ms"`
}

func (m machine) String() string {
	model := ""
	if m.Model != "" {
		model = " (" + m.Model + ")"
	}
	return fmt.Sprintf("%d processors%s, Linux %s; a 4 KiB write with its sync takes %.2f ms (p99 %.2f)",
		m.Processors, model, m.Kernel, m.SyncP50, m.SyncP99)
}

func describeMachine(p place) (machine, error) {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return machine{}, fmt.Errorf("read kernel version: %w", err)
	}
	cpus, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return machine{}, fmt.Errorf("read the model of the processor: %w", err)
	}
	syncs, err := p.measureSync()
	if err != nil {
		return machine{}, err
	}
	return machine{
		Processors: runtime.NumCPU(),
		Model:      processorModel(cpus),
		Kernel:     strings.TrimSpace(string(release)),
		GoVersion:  runtime.Version(),
		SyncP50:    millis(syncs.quantile(0.5)),
		SyncP99:    millis(syncs.quantile(0.99)),
	}, nil
}

// processorModel is what /proc/cpuinfo calls the first processor: some architectures give it
// no name.
func processorModel(cpuinfo []byte) string {
	for line := range strings.Lines(string(cpuinfo)) {
		name, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// measureSync appends to a file and syncs it, again and again, for a second.
func (p place) measureSync() (h *histogram, err error) {
	name := filepath.Join(p.dir, "sync-probe")
	f, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("measure the disk: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(name)) }()
	h = &histogram{}
	block := make([]byte, 4<<10)
	for start := time.Now(); time.Since(start) < time.Second; {
		from := time.Now()
		if _, err := f.Write(block); err != nil {
			return nil, fmt.Errorf("measure the disk: %w", err)
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return nil, fmt.Errorf("measure the disk: sync: %w", err)
		}
		h.add(time.Since(from))
	}
	return h, nil
}
