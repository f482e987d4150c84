package checksum_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"pgregory.net/rapid"

	"chainfire/object/checksum"
)

// all lists the algorithms with the value that each has of "123456789", the bytes that
// catalogues of CRCs give as their check.
var all = []struct {
	alg      checksum.Algorithm
	name     string
	check    string
	combines bool
}{
	{checksum.CRC32, "CRC32", "cbf43926", true},
	{checksum.CRC32C, "CRC32C", "e3069283", true},
	{checksum.CRC64NVME, "CRC64NVME", "ae8b14860a799888", true},
	{checksum.SHA1, "SHA1", "f7c3bc1d808e04732adf679965ccc34ca7ae3441", false},
	{checksum.SHA256, "SHA256", "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225", false},
}

func sum(a checksum.Algorithm, b []byte) []byte {
	h := checksum.New(a)
	h.Write(b)
	return h.Sum(nil)
}

func TestEachAlgorithmHasItsNameSizeAndCheckValue(t *testing.T) {
	for _, c := range all {
		if got := hex.EncodeToString(sum(c.alg, []byte("123456789"))); got != c.check {
			t.Errorf("%s of the check bytes is %s, want %s", c.name, got, c.check)
		}
		if c.alg.String() != c.name || c.alg.Size() != len(c.check)/2 || c.alg.Combines() != c.combines {
			t.Errorf("%s: named %q, size %d, combines %v", c.name, c.alg, c.alg.Size(), c.alg.Combines())
		}
		if got, ok := checksum.Parse(c.name); !ok || got != c.alg {
			t.Errorf("Parse(%q) = %v, %v", c.name, got, ok)
		}
	}
}

func TestWhatIsNoAlgorithmHasNothing(t *testing.T) {
	for _, a := range []checksum.Algorithm{checksum.None, checksum.Last + 1, 255} {
		if a.String() != "" || a.Size() != 0 || a.Combines() {
			t.Errorf("%d: named %q, size %d, combines %v", uint8(a), a, a.Size(), a.Combines())
		}
		if checksum.New(a) != nil || checksum.Composite(a, [][]byte{{1}}) != nil || checksum.Combine(a, nil, nil, 0) != nil {
			t.Errorf("%d computes something", uint8(a))
		}
	}
	for _, name := range []string{"", "crc32", "MD5", "CRC32 "} {
		if a, ok := checksum.Parse(name); ok {
			t.Errorf("Parse(%q) = %v, want none", name, a)
		}
	}
}

func TestCombineRefusesWhatDoesNotCombine(t *testing.T) {
	four, eight := make([]byte, 4), make([]byte, 8)
	for name, got := range map[string][]byte{
		"a first value too long":    checksum.Combine(checksum.CRC32, eight, four, 1),
		"a second value too short":  checksum.Combine(checksum.CRC64NVME, eight, four, 1),
		"a negative length":         checksum.Combine(checksum.CRC32C, four, four, -1),
		"an algorithm that is none": checksum.Combine(checksum.SHA256, make([]byte, 32), make([]byte, 32), 1),
	} {
		if got != nil {
			t.Errorf("%s gives %x, want nothing", name, got)
		}
	}
}

func TestCombineIsTheChecksumOfTheBytesTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.SliceOfN(rapid.Byte(), 0, 600).Draw(t, "first")
		second := rapid.SliceOfN(rapid.Byte(), 0, 600).Draw(t, "second")
		for _, c := range all {
			if !c.combines {
				continue
			}
			got := checksum.Combine(c.alg, sum(c.alg, first), sum(c.alg, second), int64(len(second)))
			if want := sum(c.alg, append(bytes.Clone(first), second...)); !bytes.Equal(got, want) {
				t.Fatalf("%s of %x and %x combines to %x, want %x", c.name, first, second, got, want)
			}
		}
	})
}

func TestCombineIsAssociativeOverLengthsOfWholeObjects(t *testing.T) {
	lengths := rapid.Int64Range(0, 5<<40)
	rapid.Check(t, func(t *rapid.T) {
		b, c := lengths.Draw(t, "b"), lengths.Draw(t, "c")
		for _, alg := range []checksum.Algorithm{checksum.CRC32, checksum.CRC32C, checksum.CRC64NVME} {
			value := rapid.SliceOfN(rapid.Byte(), alg.Size(), alg.Size())
			x, y, z := value.Draw(t, "x"), value.Draw(t, "y"), value.Draw(t, "z")
			left := checksum.Combine(alg, checksum.Combine(alg, x, y, b), z, c)
			right := checksum.Combine(alg, x, checksum.Combine(alg, y, z, c), b+c)
			if !bytes.Equal(left, right) {
				t.Fatalf("%s: (xy)z = %x, x(yz) = %x", alg, left, right)
			}
		}
	})
}

func TestCompositeIsTheChecksumOfTheChecksums(t *testing.T) {
	for _, c := range all {
		a, b := sum(c.alg, []byte("one")), sum(c.alg, []byte("two"))
		want := sum(c.alg, append(bytes.Clone(a), b...))
		if got := checksum.Composite(c.alg, [][]byte{a, b}); !bytes.Equal(got, want) {
			t.Errorf("%s: %x, want %x", c.name, got, want)
		}
	}
}
