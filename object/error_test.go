package object_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestEveryErrorOfTheStateIsARefusal reads the source, so that an error that is added is not
// taken for one of the member's, which stops it.
func TestEveryErrorOfTheStateIsARefusal(t *testing.T) {
	source, err := os.ReadFile("error.go")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(source), "func Refused(")
	names := regexp.MustCompile(`(?m)^\s+(Err\w+)\s+= errors\.New`).FindAllSubmatch(source, -1)
	if len(names) < 26 {
		t.Fatalf("%d errors", len(names))
	}
	for _, m := range names {
		name := string(m[1])
		listed := regexp.MustCompile(`\b` + name + `\b`).MatchString(list)
		if reads := name == "ErrUnavailable" || name == "ErrExternalStore"; listed == reads {
			t.Errorf("%s is in the list of Refused: %t", name, listed)
		}
	}
}
