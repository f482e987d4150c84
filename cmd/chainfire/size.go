package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// size is a number of bytes as a flag: 1048576, 1MiB, 1.5MiB or 10MB.
type size int64

// String implements pflag.Value.
func (s *size) String() string {
	for _, u := range sizeUnits() {
		if n := int64(*s); n != 0 && u.bytes > 1 && n%u.bytes == 0 && u.binary {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(*s), 10)
}

// Type implements pflag.Value: what help shows in the place of the value.
func (s *size) Type() string { return "size" }

// Set implements pflag.Value.
func (s *size) Set(v string) error {
	n, err := parseSize(v)
	if err != nil {
		return err
	}
	*s = size(n)
	return nil
}

type sizeUnit struct {
	name   string
	bytes  int64
	binary bool
}

func sizeUnits() []sizeUnit {
	return []sizeUnit{
		{"GiB", 1 << 30, true},
		{"MiB", 1 << 20, true},
		{"KiB", 1 << 10, true},
		{"GB", 1e9, false},
		{"MB", 1e6, false},
		{"kB", 1e3, false},
		{"KB", 1e3, false},
		{"B", 1, true},
		{"", 1, true},
	}
}

var errSize = errors.New("give bytes, as 1048576, 512KiB, 1.5MiB or 10MB")

func parseSize(v string) (int64, error) {
	v = strings.TrimSpace(v)
	for _, u := range sizeUnits() {
		number, ok := strings.CutSuffix(v, u.name)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || math.IsNaN(f) || f < 0 || f*float64(u.bytes) >= math.MaxInt64 {
			return 0, fmt.Errorf("size %q: %w", v, errSize)
		}
		return int64(f * float64(u.bytes)), nil
	}
	return 0, fmt.Errorf("size %q: %w", v, errSize)
}
