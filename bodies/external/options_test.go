package external

import (
	"reflect"
	"strings"
	"testing"

	"chainfire/object"
)

func TestAddressesAreReadOrRefusedByName(t *testing.T) {
	for _, c := range []struct {
		address string
		want    Options
		refused string
	}{
		{address: "s3://bodies?endpoint=https://s3.example.com", want: Options{Endpoint: "s3.example.com", Secure: true, Bucket: "bodies", PathStyle: true}},
		{address: "s3://bodies/a/b?endpoint=http://127.0.0.1:9000/&region=eu-1&path-style=false", want: Options{Endpoint: "127.0.0.1:9000", Bucket: "bodies", Prefix: "a/b/", Region: "eu-1"}},
		{address: "https://bodies", refused: "scheme"},
		{address: "s3://?endpoint=https://h", refused: "no name of a bucket"},
		{address: "s3://host:9000/bodies?endpoint=https://h", refused: "no name of a bucket"},
		{address: "s3://id:hidden@bodies?endpoint=https://h", refused: "keys do not belong"},
		{address: "s3://bodies", refused: "endpoint"},
		{address: "s3://bodies?endpoint=h:9000", refused: "endpoint"},
		{address: "s3://bodies?endpoint=https://h/path", refused: "endpoint"},
		{address: "s3://bodies?endpoint=https://h&endpoint=https://i", refused: "twice"},
		{address: "s3://bodies?endpoint=https://h&secret=x", refused: `"secret"`},
		{address: "s3://bodies?endpoint=https://h&path-style=maybe", refused: "maybe"},
		{address: "s3://bodies/" + strings.Repeat("p", maxPrefix) + "?endpoint=https://h", refused: "prefix"},
	} {
		got, err := Parse(c.address)
		if c.refused != "" {
			if err == nil || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%s: %v, want a refusal with %q", c.address, err, c.refused)
			}
			if err != nil && strings.Contains(err.Error(), "hidden") {
				t.Errorf("%s: the refusal tells a secret: %v", c.address, err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", c.address, got, err)
		}
	}
}

func TestNamesOfObjectsAreReadAsTheyAreWritten(t *testing.T) {
	s := &Store{root: "p/0000000000000001/"}
	id := object.ExtentID{Body: object.BodyID{Lease: 1<<63 + 5, N: 7}, N: 1<<32 - 1}
	name, found := strings.CutPrefix(s.name(id), s.root)
	if got, ok := parseName(name); !found || !ok || got != id {
		t.Errorf("%s is read as %v, %v", name, got, ok)
	}
	for _, name := range []string{"trial", "", "0000000000000001/00000001", "000000000000000g/00000001/00000001", "0000000000000001/00000001/00000001/x"} {
		if id, ok := parseName(name); ok {
			t.Errorf("%q is read as %v", name, id)
		}
	}
}
