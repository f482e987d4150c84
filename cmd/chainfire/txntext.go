package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// txnParser reads the text form of a transaction. Its errors name the line.
type txnParser struct {
	// prompt, if set, asks a person for the next part.
	prompt func(string)
	line   int
}

func (p *txnParser) ask(s string) {
	if p.prompt != nil {
		p.prompt(s)
	}
}

func (p *txnParser) parse(in io.Reader) (clientv3.Op, error) {
	lines := bufio.NewScanner(io.LimitReader(in, maxTxnText))
	lines.Buffer(nil, maxTxnText)
	var compares []clientv3.Cmp
	p.ask("comparisons, as value(\"key\") = \"value\"; an empty line ends them:")
	err := p.part(lines, func(s string) error {
		c, err := parseCompare(s)
		compares = append(compares, c)
		return err
	})
	if err != nil {
		return clientv3.Op{}, err
	}
	p.ask("requests if they hold, as put key value:")
	success, err := p.requests(lines)
	if err != nil {
		return clientv3.Op{}, err
	}
	p.ask("requests if they do not hold:")
	failure, err := p.requests(lines)
	if err != nil {
		return clientv3.Op{}, err
	}
	return clientv3.OpTxn(compares, success, failure), nil
}

// part reads lines up to an empty one, or the end.
func (p *txnParser) part(lines *bufio.Scanner, do func(string) error) error {
	for lines.Scan() {
		p.line++
		s := strings.TrimSpace(lines.Text())
		if s == "" {
			return nil
		}
		if err := do(s); err != nil {
			return fmt.Errorf("line %d: %w", p.line, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the transaction: %w", err)
	}
	return nil
}

func (p *txnParser) requests(lines *bufio.Scanner) ([]clientv3.Op, error) {
	var ops []clientv3.Op
	err := p.part(lines, func(s string) error {
		op, err := parseRequest(s)
		ops = append(ops, op)
		return err
	})
	return ops, err
}

// parseRequest reads one get, put or del with its flags.
func parseRequest(s string) (clientv3.Op, error) {
	words, err := splitWords(s)
	if err != nil {
		return clientv3.Op{}, err
	}
	flags := pflag.NewFlagSet(words[0], pflag.ContinueOnError)
	flags.Usage = func() {} // the error is enough
	switch words[0] {
	case "get":
		var o getOptions
		o.flags(flags)
		if err := flags.Parse(words[1:]); err != nil {
			return clientv3.Op{}, fmt.Errorf("get: %w", err)
		}
		return o.op(flags.Args())
	case "put":
		var o putOptions
		o.flags(flags)
		if err := flags.Parse(words[1:]); err != nil {
			return clientv3.Op{}, fmt.Errorf("put: %w", err)
		}
		if flags.NArg() > 2 {
			return clientv3.Op{}, fmt.Errorf("put takes KEY and VALUE, not %d words; put words with blanks in quotes", flags.NArg())
		}
		return o.op(flags.Args(), nil)
	case "del":
		var o delOptions
		o.flags(flags)
		if err := flags.Parse(words[1:]); err != nil {
			return clientv3.Op{}, fmt.Errorf("del: %w", err)
		}
		return o.op(flags.Args())
	}
	return clientv3.Op{}, fmt.Errorf("%q is no request; use get, put or del", words[0])
}

// splitWords splits a line at blanks. Words, or parts of words, in single quotes
// are as they are; in double quotes they may have Go's escapes.
func splitWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case ' ', '\t':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		case '\'':
			end := strings.IndexByte(s[i+1:], '\'')
			if end < 0 {
				return nil, errors.New("a ' has no end")
			}
			word.WriteString(s[i+1 : i+1+end])
			i, inWord = i+1+end, true
		case '"':
			quoted, err := strconv.QuotedPrefix(s[i:])
			if err != nil {
				return nil, errors.New(`a " has no end, or there is an unknown \ in it`)
			}
			part, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", quoted, err)
			}
			word.WriteString(part)
			i, inWord = i+len(quoted)-1, true
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	if len(words) == 0 {
		return nil, errors.New("there is no word in it")
	}
	return words, nil
}

// parseCompare reads a comparison: target("key") op "right-hand side".
func parseCompare(s string) (clientv3.Cmp, error) {
	usage := fmt.Errorf(`%q is no comparison; write it as value("key") = "value", or with version, create, mod or lease and a number`, s)
	m := regexp.MustCompile(`^(\w+)\s*\((.*?)\)\s*(!=|=|<|>)\s*(\S.*)$`).FindStringSubmatch(s)
	// A bracket inside the quotes of the key is not the end of it.
	if q := regexp.MustCompile(`^(\w+)\s*\(\s*("(?:[^"\\]|\\.)*"|'[^']*')\s*\)\s*(!=|=|<|>)\s*(\S.*)$`).FindStringSubmatch(s); q != nil {
		m = q
	}
	if m == nil {
		return clientv3.Cmp{}, usage
	}
	key, err := oneWord(m[2])
	if err != nil {
		return clientv3.Cmp{}, fmt.Errorf("the key: %w", err)
	}
	right, err := oneWord(m[4])
	if err != nil {
		return clientv3.Cmp{}, fmt.Errorf("the right-hand side: %w", err)
	}
	j := jsonCompare{Target: m[1], Op: m[3], jsonInterval: jsonInterval{Key: &key}}
	if strings.EqualFold(m[1], "value") || strings.EqualFold(m[1], "val") {
		j.Value = &right
	} else {
		n, err := strconv.ParseInt(right, 10, 64)
		if err != nil {
			return clientv3.Cmp{}, fmt.Errorf("%s is compared with a number, not with %q", m[1], right)
		}
		j.Number = &n
	}
	return j.cmp()
}

func oneWord(s string) (string, error) {
	words, err := splitWords(s)
	if err != nil {
		return "", err
	}
	if len(words) != 1 {
		return "", fmt.Errorf("%s is more than one word; put it in quotes", s)
	}
	return words[0], nil
}

func compareResult(op string) (etcdserverpb.Compare_CompareResult, error) {
	switch op {
	case "=", "==", "":
		return etcdserverpb.Compare_EQUAL, nil
	case "!=":
		return etcdserverpb.Compare_NOT_EQUAL, nil
	case ">":
		return etcdserverpb.Compare_GREATER, nil
	case "<":
		return etcdserverpb.Compare_LESS, nil
	}
	return 0, fmt.Errorf("the comparison %q is not one of =, !=, < and >", op)
}
