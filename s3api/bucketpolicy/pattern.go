package bucketpolicy

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// pattern is a text in which some pieces stand for more than themselves.
type pattern []piece

// piece is one character of a pattern, or what stands for some.
type piece struct {
	kind pieceKind
	r    rune
}

type pieceKind uint8

const (
	literal  pieceKind = iota
	anyOne             // ?
	anyMany            // *
	username           // ${aws:username}
)

// syntax says what is special in a text.
type syntax struct{ wildcards, variables bool }

// parse reads a pattern. Variables are ${aws:username}, and ${*}, ${?} and ${$} for the
// characters themselves.
func (s syntax) parse(text string) (pattern, error) {
	var p pattern
	for text != "" {
		if s.variables && strings.HasPrefix(text, "${") {
			name, rest, closed := strings.Cut(text[2:], "}")
			v, ok := variable(name)
			if !closed || !ok {
				return nil, refuse("the variable in %q is not supported; supported are ${aws:username}, ${*}, ${?} and ${$}", text)
			}
			p, text = append(p, v), rest
			continue
		}
		r, size := utf8.DecodeRuneInString(text)
		text = text[size:]
		switch {
		case r == '*' && s.wildcards:
			if len(p) == 0 || p[len(p)-1].kind != anyMany { // two mean the same, and cost more
				p = append(p, piece{kind: anyMany})
			}
		case r == '?' && s.wildcards:
			p = append(p, piece{kind: anyOne})
		default:
			p = append(p, piece{r: r})
		}
	}
	return p, nil
}

func variable(name string) (piece, bool) {
	switch name {
	case "aws:username":
		return piece{kind: username}, true
	case "*", "?", "$":
		return piece{r: rune(name[0])}, true
	}
	return piece{}, false
}

// fixed reports whether the pattern matches one text, the same for every request.
func (p pattern) fixed() bool {
	return !slices.ContainsFunc(p, func(x piece) bool { return x.kind != literal })
}

// resolve puts a name in the place of the variable, whose characters are then themselves. It
// reports false where the name is not known: then the pattern matches nothing.
func (p pattern) resolve(name string) (pattern, bool) {
	if !slices.ContainsFunc(p, func(x piece) bool { return x.kind == username }) {
		return p, true
	}
	if name == "" {
		return nil, false
	}
	var out pattern
	for _, x := range p {
		if x.kind != username {
			out = append(out, x)
			continue
		}
		for _, r := range name {
			out = append(out, piece{r: r})
		}
	}
	return out, true
}

// matches reports whether the pattern matches the whole text, for a request of a name.
func (p pattern) matches(text, name string) bool {
	p, ok := p.resolve(name)
	if !ok {
		return false
	}
	// What is behind the last * is at the end or nowhere.
	last := p.lastMany()
	if last >= 0 {
		for tail := p[last+1:]; len(tail) > 0; tail = tail[:len(tail)-1] {
			r, size := utf8.DecodeLastRuneInString(text)
			if x := tail[len(tail)-1]; size == 0 || x.kind != anyOne && x.r != r {
				return false
			}
			text = text[:len(text)-size]
		}
		p = p[:last+1]
	}
	// On a mismatch only the last * has to take one more character: what matched before it
	// would match there again. So the cost is at most that of effort, for each character.
	at, star, retry := 0, -1, ""
	for text != "" {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case at < len(p) && p[at].kind == anyMany:
			if at == last {
				return true
			}
			star, retry = at, text
			at++
			continue
		case at < len(p) && (p[at].kind == anyOne || p[at].r == r):
			at++
			text = text[size:]
			continue
		case star < 0:
			return false
		}
		_, size = utf8.DecodeRuneInString(retry)
		retry = retry[size:]
		text, at = retry, star+1
	}
	for at < len(p) && p[at].kind == anyMany {
		at++
	}
	return at == len(p)
}

// lastMany is where the last * is, -1 where there is none.
func (p pattern) lastMany() int {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i].kind == anyMany {
			return i
		}
	}
	return -1
}

// maxUsername is how long the id of an access key may be.
const maxUsername = 128

// effort is how many characters of the pattern may be compared in vain with each place of a text: the
// most that lie between two *.
func (p pattern) effort() (most int) {
	n, within := 0, false
	for _, x := range p {
		switch x.kind {
		case anyMany:
			if within {
				most = max(most, n)
			}
			n, within = 0, true
		case username:
			n += maxUsername
		default:
			n++
		}
	}
	return most
}

func anyMatches(list []pattern, text, name string) bool {
	return slices.ContainsFunc(list, func(p pattern) bool { return p.matches(text, name) })
}
