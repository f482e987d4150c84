// Package xmltree reads XML that a client sends, so that nothing in it is passed over: a
// program takes each element by its name, and what it did not take is an error. Package
// encoding/xml leaves out what it does not know, and takes the last of what may be there once.
//
// Names are without their namespaces, and attributes mean nothing: no document of S3 says anything
// by them but the type of an element that its children tell as well. There are no directives, so no entities but those of XML
// itself. A Node belongs to one goroutine.
package xmltree

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// maxDepth bounds how deep elements nest.
const maxDepth = 10

// Error says what is wrong with a document. The message is for whoever sent it.
type Error struct{ Message string }

func (e *Error) Error() string { return e.Message }

func refuse(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// Node is one element.
type Node struct {
	// Name is its name, and Text what is in it outside of its children.
	Name, Text string
	text       []byte // of Text, as it comes
	children   []*Node
	taken      []bool
}

// The bounds of a document: how many tags, and how many bytes from the beginning of one to that of
// the next. The parts of an upload take 80,000 tags, a key in references 8 KiB.
const (
	maxTags = 100_000
	maxRun  = 16 << 10
)

// bounded refuses a document of very many tags or attributes before it is parsed, which takes up
// to a hundred times the memory of the document for them. Errors are of type *Error.
func bounded(document []byte) error {
	tags := -1 // what is before the first is none
	for run := range bytes.SplitSeq(document, []byte("<")) {
		if tags++; tags > maxTags {
			return refuse("the XML has more than %d tags", maxTags)
		}
		if len(run) > maxRun {
			return refuse("a tag and the text behind it have more than %d bytes", maxRun)
		}
	}
	return nil
}

// Parse reads a document, whose outermost element must have one of the names. The caller
// bounds its length. Errors are of type *Error.
func Parse(document []byte, names ...string) (*Node, error) {
	if err := bounded(document); err != nil {
		return nil, err
	}
	d := xml.NewDecoder(bytes.NewReader(document))
	var root *Node
	var open []*Node
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, refuse("the XML is not well-formed: %v", err)
		}
		switch x := token.(type) {
		case xml.StartElement:
			n := &Node{Name: x.Name.Local}
			switch {
			case len(open) == maxDepth:
				return nil, refuse("the XML nests deeper than %d levels", maxDepth)
			case len(open) > 0:
				open[len(open)-1].children = append(open[len(open)-1].children, n)
			case root != nil:
				return nil, refuse("a second element comes after %s", root.Name)
			default:
				root = n
			}
			open = append(open, n)
		case xml.EndElement:
			n := open[len(open)-1]
			n.Text, n.text = string(n.text), nil
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				n := open[len(open)-1]
				n.text = append(n.text, x...)
			} else if len(bytes.TrimSpace(x)) > 0 {
				return nil, refuse("there is text outside of all elements")
			}
		case xml.Directive:
			return nil, refuse("the XML has a directive")
		}
	}
	if root == nil {
		return nil, refuse("there is no element")
	}
	if slices.Contains(names, root.Name) {
		return root, nil
	}
	return nil, refuse("the outermost element is %s, not %s", clipped(root.Name), strings.Join(names, " or "))
}

// All takes the children of a name.
func (n *Node) All(name string) []*Node {
	if n.taken == nil {
		n.taken = make([]bool, len(n.children))
	}
	var out []*Node
	for i, c := range n.children {
		if c.Name == name {
			n.taken[i] = true
			out = append(out, c)
		}
	}
	return out
}

// One takes the child of a name, which may be there once; nil is none.
func (n *Node) One(name string) (*Node, error) {
	list := n.All(name)
	switch len(list) {
	case 0:
		return nil, nil
	case 1:
		return list[0], nil
	}
	return nil, refuse("%s has %s more than once", n.Name, name)
}

// String takes the text of a child that has no children, and says whether it is there.
func (n *Node) String(name string) (text string, found bool, err error) {
	c, err := n.One(name)
	if c == nil || err != nil {
		return "", false, err
	}
	return c.Text, true, c.Done()
}

// Need takes the text of a child that must be there.
func (n *Node) Need(name string) (string, error) {
	text, found, err := n.String(name)
	if err == nil && !found {
		err = refuse("%s has no %s", n.Name, name)
	}
	return text, err
}

// Int takes the text of a child as a whole number.
func (n *Node) Int(name string) (value int64, found bool, err error) {
	text, found, err := n.String(name)
	if err != nil || !found {
		return 0, false, err
	}
	value, err = strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return 0, false, refuse("%s has %s %q, which is no whole number", n.Name, name, clipped(text))
	}
	return value, true, nil
}

// Bool takes the text of a child as true or false.
func (n *Node) Bool(name string) (value, found bool, err error) {
	text, found, err := n.String(name)
	if err != nil || !found {
		return false, false, err
	}
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true":
		return true, true, nil
	case "false":
		return false, true, nil
	}
	return false, false, refuse("%s has %s %q, which is neither true nor false", n.Name, name, clipped(text))
}

// Done refuses children that were not taken.
func (n *Node) Done() error {
	for i, c := range n.children {
		if i >= len(n.taken) || !n.taken[i] {
			return refuse("%s has %s, which is not supported", n.Name, clipped(c.Name))
		}
	}
	if len(n.children) > 0 && strings.TrimSpace(n.Text) != "" {
		return refuse("%s has text beside its elements", n.Name)
	}
	return nil
}

// clipped bounds what a message repeats.
func clipped(text string) string {
	if len(text) > 64 {
		return text[:64] + "..."
	}
	return text
}
