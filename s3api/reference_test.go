package s3api

import (
	"context"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"chainfire/s3api/bucketpolicy"
)

// reference reads docs/reference/s3.md: the status of each operation.
func reference(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../docs/reference/s3.md")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, " | ")
		name, ok := strings.CutPrefix(cells[0], "| ")
		if !ok || len(cells) < 3 || name == "operation" {
			continue
		}
		if _, twice := out[name]; twice {
			t.Errorf("%s is in the reference twice", name)
		}
		out[name] = cells[1]
	}
	return out
}

// elsewhere are operations of AWS that are not asked of this endpoint, so that nothing here can
// tell them from others.
var elsewhere = map[string]bool{"ListDirectoryBuckets": true, "WriteGetObjectResponse": true}

// TestTheReferenceHasEveryOperationAsItIs holds the page to the table of operations, and both to
// what the client of AWS can ask for.
func TestTheReferenceHasEveryOperationAsItIs(t *testing.T) {
	page, served, missing := reference(t), map[string]bool{}, map[string]bool{}
	for _, op := range absentOperations() {
		missing[op.name] = true
	}
	asIs := map[string]bool{}
	for _, op := range fixedOperations() {
		asIs[op.name] = true
	}
	for _, op := range operations() {
		served[op.name] = true
		want := "yes"
		switch {
		case missing[op.name]:
			want = "no"
		case asIs[op.name], op.names("acl"), op.names("ownershipControls"): // all has one owner
			want = "fixed"
		}
		if page[op.name] != want {
			t.Errorf("%s is %q in the reference, and is to be %q", op.name, page[op.name], want)
		}
	}
	for name, status := range page {
		if served[name] {
			continue
		}
		if !elsewhere[name] {
			t.Errorf("%s is in the reference, and no operation", name)
		}
		if status != "no" {
			t.Errorf("%s has the status %q, and is asked of another endpoint", name, status)
		}
	}
	client := reflect.TypeFor[*s3.Client]()
	asked := 0
	for i := range client.NumMethod() {
		m := client.Method(i)
		if m.Type.NumIn() < 3 || m.Type.In(1) != reflect.TypeFor[context.Context]() || !strings.HasSuffix(m.Type.In(2).String(), "."+m.Name+"Input") {
			continue
		}
		asked++
		if page[m.Name] == "" {
			t.Errorf("the client of AWS has %s, which is not in the reference", m.Name)
		}
	}
	if asked < 100 {
		t.Errorf("the client of AWS has only %d operations", asked)
	}
}

// TestEveryOperationHasAnActionThatPoliciesKnow: one that has none could not be denied.
func TestEveryOperationHasAnActionThatPoliciesKnow(t *testing.T) {
	missing := map[string]bool{}
	for _, op := range absentOperations() {
		missing[op.name] = true
	}
	for _, op := range operations() {
		if op.access == accessAdmin || op.access == accessListed || missing[op.name] {
			continue
		}
		onObject, known := bucketpolicy.OnObject(op.action)
		if !known {
			t.Errorf("%s asks policies for %q, which none can name", op.name, op.action)
		}
		if onObject != (op.level == objectLevel) && op.access != accessOpen { // which is decided on key by key
			t.Errorf("%s is at level %d, and policies have %s on objects: %t", op.name, op.level, op.action, onObject)
		}
	}
}
