package bucketpolicy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds how deep the document nests: a policy needs five levels.
const maxDepth = 8

// object is a JSON object. The names in it are compared to the letter, and none is there twice:
// encoding/json would fold their case and take the last.
type object map[string]any

// parseJSON reads a document of one object. Numbers are left as they are written.
func parseJSON(document []byte) (object, error) {
	if len(document) > MaxSize {
		return nil, refuse("Normalized policy document exceeds the maximum size of %d bytes", MaxSize)
	}
	if !utf8.Valid(document) {
		return nil, refuse("The policy is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(document))
	d.UseNumber()
	value, err := parseValue(d, 0)
	if err != nil {
		if e, ok := errors.AsType[*Error](err); ok {
			return nil, e
		}
		return nil, refuse("The policy is not valid JSON: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, refuse("Something comes after the policy")
	}
	root, ok := value.(object)
	if !ok {
		return nil, refuse("Policies must be valid JSON and the first byte must be '{'")
	}
	return root, nil
}

func parseValue(d *json.Decoder, depth int) (any, error) {
	token, err := d.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, refuse("The policy nests deeper than %d levels", maxDepth)
	}
	switch token {
	case json.Delim('{'):
		return parseObject(d, depth)
	case json.Delim('['):
		list := []any{}
		for d.More() {
			value, err := parseValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		_, err := d.Token()
		return list, err
	}
	return token, nil
}

func parseObject(d *json.Decoder, depth int) (any, error) {
	o := object{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, ok := token.(string)
		if !ok {
			return nil, refuse("The name of a field is no text")
		}
		if _, dup := o[name]; dup {
			return nil, refuse("%q is there twice in one object", name)
		}
		if o[name], err = parseValue(d, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return o, err
}

// only refuses all fields but those named.
func (o object) only(where string, names ...string) error {
	for _, name := range slices.Sorted(maps.Keys(o)) {
		if !slices.Contains(names, name) {
			return refuse("%s has the element %q, which is not supported; supported are %s", where, name, strings.Join(names, ", "))
		}
	}
	return nil
}

// statements are those of the document: one, or a list of some.
func (o object) statements() ([]object, error) {
	var list []object
	switch v := o["Statement"].(type) {
	case object:
		list = append(list, v)
	case []any:
		for _, entry := range v {
			s, ok := entry.(object)
			if !ok {
				return nil, refuse("Statement is a list of objects")
			}
			list = append(list, s)
		}
	}
	if len(list) == 0 {
		return nil, refuse("Missing required field Statement")
	}
	return list, nil
}

// texts are the texts of a field: one, or a list of some.
func texts(name string, value any) ([]string, error) {
	var out []string
	switch v := value.(type) {
	case string:
		out = append(out, v)
	case []any:
		for _, entry := range v {
			text, ok := entry.(string)
			if !ok {
				return nil, refuse("%s is a text, or a list of texts", name)
			}
			out = append(out, text)
		}
	case nil:
		return nil, refuse("Missing required field %s", name)
	}
	if len(out) == 0 {
		return nil, refuse("%s is a text, or a list of texts", name)
	}
	return out, nil
}
