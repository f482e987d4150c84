package xmltree

import (
	"errors"
	"strings"
	"testing"
)

func TestElementsAreTakenByName(t *testing.T) {
	n, err := Parse([]byte(`<?xml version="1.0"?>
		<a xmlns="http://example.com/" xmlns:x="y" x:type="T"><n> 7 </n><s>one &amp; two</s><b>TRUE</b><r>1</r><r>2</r></a>`), "a")
	if err != nil {
		t.Fatal(err)
	}
	number, _, err := n.Int("n")
	if err != nil || number != 7 {
		t.Errorf("n is %d, %v", number, err)
	}
	text, err := n.Need("s")
	if err != nil || text != "one & two" {
		t.Errorf("s is %q, %v", text, err)
	}
	truth, found, err := n.Bool("b")
	if err != nil || !truth || !found {
		t.Errorf("b is %t, %v", truth, err)
	}
	if err := n.Done(); err == nil || !strings.Contains(err.Error(), "r, which is not supported") {
		t.Errorf("elements that nobody took end in %v", err)
	}
	if list := n.All("r"); len(list) != 2 || list[1].Text != "2" {
		t.Errorf("there are %d elements r", len(list))
	}
	if err := n.Done(); err != nil {
		t.Error(err)
	}
	if _, found, err := n.String("none"); found || err != nil {
		t.Errorf("an element that is not there is found: %t, %v", found, err)
	}
}

// TestADocumentTakesMemoryInProportionToWhatItMaySay: else a few bytes each of elements or
// attributes would take many times as much, of every document that is read at once.
func TestADocumentTakesMemoryInProportionToWhatItMaySay(t *testing.T) {
	parts := "<a>" + strings.Repeat("<p><n>1</n><e>2</e><c>3</c></p>\n", 10_000) + "</a>"
	if _, err := Parse([]byte(parts), "a"); err != nil {
		t.Errorf("the parts of the largest upload are refused: %v", err)
	}
	for name, document := range map[string]string{
		"elements":              "<a>" + strings.Repeat("<b/>", 200_000) + "</a>",
		"attributes":            "<a " + strings.Repeat(`b="" `, 100_000) + "/>",
		"attributes after a >":  `<a x=">" ` + strings.Repeat(`b="" `, 100_000) + "/>",
		"attributes in the end": `<a/><?b ` + strings.Repeat(`b="" `, 100_000),
	} {
		n, err := Parse([]byte(document), "a")
		if _, ok := errors.AsType[*Error](err); !ok || n != nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("%s: %v", name, err)
		}
		if err := bounded([]byte(document)); err == nil {
			t.Errorf("%s are within bounds", name)
		}
	}
}

func TestWhatIsNotAsItMustBeIsNamed(t *testing.T) {
	take := func(n *Node) error {
		if _, _, err := n.Int("n"); err != nil {
			return err
		}
		if _, _, err := n.Bool("b"); err != nil {
			return err
		}
		return n.Done()
	}
	for _, c := range []struct{ document, word string }{
		{"", "no element"},
		{"<b/>", "outermost element is b"},
		{"<a>", "well-formed"},
		{"<a/><a/>", "second"},
		{"<a/>x", "outside"},
		{`<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>`, "directive"},
		{"<a>&e;</a>", "well-formed"},
		{strings.Repeat("<a>", 11) + strings.Repeat("</a>", 11), "deeper"},
		{"<a><n>1</n><n>2</n></a>", "more than once"},
		{"<a><n>x</n></a>", "whole number"},
		{"<a><n><m/></n></a>", "m, which is not supported"},
		{"<a><b>1</b></a>", "neither"},
		{"<a>x<n>1</n></a>", "beside"},
		{"<a><" + strings.Repeat("z", 99) + "/></a>", "z..., which is not supported"},
	} {
		n, err := Parse([]byte(c.document), "a")
		if err == nil {
			err = take(n)
		}
		if _, ok := errors.AsType[*Error](err); !ok || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: the error is %v, and is to say %q", c.document, err, c.word)
		}
	}
}

// FuzzParse looks for documents that make the reading panic.
func FuzzParse(f *testing.F) {
	f.Add([]byte("<a><n>1</n><b>true</b></a>"))
	f.Fuzz(func(t *testing.T, document []byte) {
		n, err := Parse(document, "a")
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("the error %v is not one of a document", err)
			}
			return
		}
		taken := len(n.All("n")) + len(n.All("b"))
		if err := n.Done(); err == nil && taken != len(n.children) {
			t.Fatal("an element was passed over")
		}
	})
}
