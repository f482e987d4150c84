package object_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"chainfire/object"
)

func TestFormatPageShowsRowsAndAChangeAsTheyAre(t *testing.T) {
	page, err := os.ReadFile("../docs/format/objects.md")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.now = 1000
	w.must(&object.Change{CreateBucket: &object.CreateBucket{Name: "abc", Owner: "AK"}})
	put := &object.Change{Time: w.now, Put: &object.Put{
		Bucket: "abc", Key: "a\x00b", ETag: "49f68a5c8493ec2c0bf489821c21fc3b", Body: object.Body{Size: 2, Inline: []byte("hi")},
		Attributes: object.Attributes{ContentType: "text/plain", Tags: []object.Pair{{Name: "n", Value: "v"}}},
	}}
	w.must(put)
	w.must(&object.Change{SetBucket: &object.SetBucket{Name: "abc", Versioning: ptr(object.VersioningEnabled)}})
	w.must(&object.Change{Delete: &object.Delete{Bucket: "abc", Objects: []object.DeleteObject{{Key: "a\x00b"}}}})
	w.must(&object.Change{SetConfig: &object.SetConfig{Bucket: "abc", Name: "cors", Value: []byte("<C/>")}})
	shows := func(heading string, lines ...string) {
		want := "\n\n    " + strings.Join(lines, "\n    ") + "\n"
		if _, rest, found := strings.Cut(string(page), heading); !found || !strings.HasPrefix(rest, want) {
			t.Errorf("objects.md, after %q, should go on with\n%s", heading, want)
		}
	}
	shows("The rows are then:", w.dump()...)
	shows("The put was, as a change:", fmt.Sprintf("% x", put.AppendTo(nil)))
}
